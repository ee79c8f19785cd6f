"""Where rows are kept, each with a stamp that says of which picture it is and, in a file, whether it is sound."""

import errno
import os
import weakref
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smskd.data import mix_tensor
from smskd.errors import UserError

_STAMP, _SUM = 0x7374616D70, 0x73756D
_BYTES = 8
"""Of a stamp."""


class Storage(ABC):
    """Rows of 16-bit numbers by their number. All arguments and results but the rows are on the CPU.

    ``places`` are the numbers of rows, int64 [N], ``pictures`` say of each of which picture it is, int64 [N].
    """

    @abstractmethod
    def read(self, places: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Rows, int16 [N, width], and whether each of them is there, bool [N]; what is not there is anything."""

    @abstractmethod
    def write(self, places: Tensor, pictures: Tensor, rows: Tensor) -> None:
        """Keeps rows, int16 [N, width]."""


class MemoryStorage(Storage):
    """Rows on a device, for as long as the process lasts."""

    def __init__(self, count: int, width: int, device: torch.device) -> None:
        self._rows = torch.empty(count, width, dtype=torch.int16, device=device)
        self._stamps = torch.zeros(count, dtype=torch.int64)

    @staticmethod
    def size(count: int, width: int) -> int:
        """In bytes."""
        return count * (2 * width + _BYTES)

    def read(self, places: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        present = self._stamps[places] == _stamps(places, pictures)
        # Not by indexing, which brings in a second thread for so little, and waits for it where the machine is busy.
        return self._rows.index_select(0, on(places, self._rows.device)), present

    def write(self, places: Tensor, pictures: Tensor, rows: Tensor) -> None:
        self._rows.index_copy_(0, on(places, self._rows.device), rows.to(self._rows.device))
        self._stamps[places] = _stamps(places, pictures)


class FileStorage(Storage):
    """Rows in a file that several processes read and write at once.

    A record is a stamp and a row. The stamp follows from the row's number, its picture and all its bits: a record
    that was never written, written in part or written twice at once, or that has been damaged, is not there. So
    nothing has to be locked, and nothing else in the file has to be trusted.

    Args:
        path: of the file; it is made, or made longer, if need be, without taking space on the disk before that is
            written to.
        count: of rows.
        width: of a row.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path, count: int, width: int) -> None:
        self._path, self._width = path, width
        self._weights = mix_tensor(_SUM, torch.arange(width)) | 1
        self._length = self._record(width)
        size = self.size(count, width)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            weakref.finalize(self, os.close, self._file)
            if os.fstat(self._file).st_size < size:
                # Not by truncating: another process may have made it longer in the meantime, and would lose the end.
                os.pwrite(self._file, b"\0", size - 1)
            mapped = np.memmap(path, dtype=np.uint8, mode="r+", shape=(count, self._length))
        except OSError as error:
            raise _not_writable(path, error) from None
        self._bytes = torch.from_numpy(mapped)

    @staticmethod
    def _record(width: int) -> int:
        """Bytes of a record, at the end of which there is at least one that nothing is kept in."""
        return _BYTES + (2 * width // _BYTES + 1) * _BYTES

    @classmethod
    def size(cls, count: int, width: int) -> int:
        """In bytes."""
        return count * cls._record(width)

    def read(self, places: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
        found = self._bytes.index_select(0, places)
        stamps = found[:, :_BYTES].contiguous().view(torch.int64)[:, 0]
        rows = found[:, _BYTES : _BYTES + 2 * self._width].contiguous().view(torch.int16)
        return rows, stamps == self._stamps(places, pictures, rows)

    def write(self, places: Tensor, pictures: Tensor, rows: Tensor) -> None:
        rows = rows.cpu().contiguous()
        records = torch.zeros(len(rows), self._length, dtype=torch.uint8)
        records[:, :_BYTES] = self._stamps(places, pictures, rows)[:, None].view(torch.uint8)
        records[:, _BYTES : _BYTES + 2 * self._width] = rows.view(torch.uint8)
        try:
            # Not through the mapping: there a full disk would end the process instead of raising an error.
            for place, record in zip(places.tolist(), records.numpy(), strict=True):
                if os.pwrite(self._file, record, place * self._length) < self._length:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise _not_writable(self._path, error) from None

    def _stamps(self, places: Tensor, pictures: Tensor, rows: Tensor) -> Tensor:
        # Odd weights: whatever changes a single number changes the sum.
        return _stamps(places, pictures, (rows.long() * self._weights).sum(1))


def on(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting for the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _stamps(*parts: Tensor) -> Tensor:
    """Never 0, which is what stands where nothing was written."""
    return mix_tensor(_STAMP, *parts) | 1


def _not_writable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"the teacher's cache {path} cannot be written ({error.strerror}): choose another cache folder, or turn the "
        "cache off"
    )
