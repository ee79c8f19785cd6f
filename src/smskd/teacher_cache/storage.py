"""Keeps rows of 16-bit numbers in records, each with a stamp that ties it to its image and, in a file, to its bits."""

import errno
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smskd.data import mix_tensor
from smskd.data.transfer import to_device
from smskd.errors import UserError

_STAMP, _CHECKSUM = 0x7374616D70, 0x73756D
"""Set the hashes of different uses apart."""

_STAMP_BYTES = 8


class Storage(ABC):
    """Rows of 16-bit numbers by the number of their record. All tensors but the rows are on the CPU.

    ``records`` are the numbers of records, int64 [N]; ``image_ids`` identify the image of each, int64 [N].
    """

    @abstractmethod
    def read(self, records: Tensor, image_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Rows, int16 [N, width], and whether each is valid, bool [N]; the contents of invalid rows are undefined."""

    @abstractmethod
    def write(self, records: Tensor, image_ids: Tensor, rows: Tensor) -> None:
        """Keeps rows, int16 [N, width].

        Raises:
            UserError: a file cannot be written.
        """


class MemoryStorage(Storage):
    """Rows on a device, for the lifetime of the process.

    Args:
        count: number of records.
        width: of a row.
        device: of the rows.
    """

    def __init__(self, count: int, width: int, device: torch.device) -> None:
        self._rows = torch.empty(count, width, dtype=torch.int16, device=device)
        self._stamps = torch.zeros(count, dtype=torch.int64)

    @staticmethod
    def size(count: int, width: int) -> int:
        """In bytes."""
        return count * (2 * width + _STAMP_BYTES)

    def forget(self) -> None:
        """Makes all records invalid."""
        self._stamps.zero_()

    def read(self, records: Tensor, image_ids: Tensor) -> tuple[Tensor, Tensor]:
        valid = self._stamps[records] == _stamps(records, image_ids)
        # Indexing would start a second thread for so little work, and wait for it where the machine is busy.
        return self._rows.index_select(0, to_device(records, self._rows.device)), valid

    def write(self, records: Tensor, image_ids: Tensor, rows: Tensor) -> None:
        self._rows.index_copy_(0, to_device(records, self._rows.device), rows.to(self._rows.device))
        self._stamps[records] = _stamps(records, image_ids)


class FileStorage(Storage):
    """Rows in a file that several processes read and write concurrently, without locks.

    A record is a stamp and a row. The stamp is a hash of the record's number, its image and all bits of the row:
    a record that was never written, was written in part or by two processes at once, or has been damaged, is invalid.
    Nothing else in the file is trusted.

    Args:
        path: of the file. It is created or extended as a sparse file, which takes disk space only where it is written.
        count: number of records.
        width: of a row.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path, count: int, width: int) -> None:
        self._path, self._width = path, width
        self._weights = mix_tensor(_CHECKSUM, torch.arange(width)) | 1
        self._length = self._record_bytes(width)
        size = self.size(count, width)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            weakref.finalize(self, os.close, self._file)
            if os.fstat(self._file).st_size < size:
                # ftruncate would cut off the end where another process has extended the file in the meantime.
                os.pwrite(self._file, b"\0", size - 1)
            mapped = np.memmap(path, dtype=np.uint8, mode="r+", shape=(count, self._length))
        except OSError as error:
            raise _not_writable(path, error) from None
        self._bytes = torch.from_numpy(mapped)

    @staticmethod
    def _record_bytes(width: int) -> int:
        """A multiple of 8. At least one byte at the end is unused: :meth:`__init__` writes it to extend the file."""
        return _STAMP_BYTES + (2 * width // _STAMP_BYTES + 1) * _STAMP_BYTES

    @classmethod
    def size(cls, count: int, width: int) -> int:
        """In bytes."""
        return count * cls._record_bytes(width)

    def read(self, records: Tensor, image_ids: Tensor) -> tuple[Tensor, Tensor]:
        found = self._bytes.index_select(0, records)
        stamps = found[:, :_STAMP_BYTES].contiguous().view(torch.int64)[:, 0]
        rows = found[:, _STAMP_BYTES : _STAMP_BYTES + 2 * self._width].contiguous().view(torch.int16)
        return rows, stamps == self._stamps(records, image_ids, rows)

    def write(self, records: Tensor, image_ids: Tensor, rows: Tensor) -> None:
        rows = rows.cpu().contiguous()
        content = torch.zeros(len(rows), self._length, dtype=torch.uint8)
        content[:, :_STAMP_BYTES] = self._stamps(records, image_ids, rows)[:, None].view(torch.uint8)
        content[:, _STAMP_BYTES : _STAMP_BYTES + 2 * self._width] = rows.view(torch.uint8)
        try:
            # A write through the mapping to a full disk would kill the process instead of raising an error.
            for first, rows_of_run in _runs(records, content):
                if os.pwrite(self._file, rows_of_run.numpy().tobytes(), first * self._length) < rows_of_run.numel():
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise _not_writable(self._path, error) from None

    def _stamps(self, records: Tensor, image_ids: Tensor, rows: Tensor) -> Tensor:
        # With odd weights, a change of a single number always changes the sum.
        return _stamps(records, image_ids, (rows.long() * self._weights).sum(1))


def _runs(records: Tensor, content: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The first record and the bytes of records that follow one another, which are written at once."""
    if len(records):
        bounds = ((records.diff() != 1).nonzero()[:, 0] + 1).tolist()
        for begin, end in pairwise([0, *bounds, len(records)]):
            yield int(records[begin]), content[begin:end]


def _stamps(*parts: Tensor) -> Tensor:
    """Never 0, the stamp of a record that was never written."""
    return mix_tensor(_STAMP, *parts) | 1


def _not_writable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"the teacher's cache {path} cannot be written ({error.strerror}): choose another cache folder, or turn the "
        "cache off"
    )
