"""Checkpoints of other programs, read without executing code in them and in no more memory than they fill."""

import argparse
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from smskd.errors import UserError

_CONTAINERS = ("model", "state_dict", "net")
_PICKLES_OF_OLD_FILES = 5
"""Magic number, version, system, the object and the keys of its storages, one after another."""

_FOREIGN = re.compile(r"GLOBAL ([\w.]*\w)")
_ALLOCATES = re.compile(r"(builtins|__builtin__)\.bytearray|torch(\.\w+)*\.\w*Tensor")
"""Names that the unpickler of PyTorch accepts and that make an object of any size out of a number."""


def read_checkpoint(file: Path) -> Mapping[str, Tensor]:
    """The state dict in a checkpoint that ``torch.save`` has written.

    Args:
        file: an existing file. The state dict is the checkpoint itself, or its entry ``model``, ``state_dict`` or
            ``net``.

    Raises:
        UserError: it is not a checkpoint, holds anything but tensors and plain data, unfolds to more than its own size,
            or has no state dict.
    """
    try:
        _check_pickles(file)
        with torch.serialization.safe_globals(_harmless_globals()):
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # on a file that is not a checkpoint the unpickler raises errors of any type
        foreign = _FOREIGN.search(str(error))
        reason = f"it contains a {foreign[1]}" if foreign else "it is not a checkpoint"
        raise UserError(f"{file} cannot be read: {reason}; only tensors and plain data are read") from error
    return _weights_of(checkpoint, file)


def _check_pickles(file: Path) -> None:
    """Refuses what would take more memory than the file itself."""
    with file.open("rb") as opened:
        names = list(_names_in(file, opened))
    for name in names:
        if _ALLOCATES.fullmatch(name):
            raise UserError(f"{file} cannot be read: it contains a {name}; only tensors and plain data are read")


def _names_in(file: Path, opened: IO[bytes]) -> Iterator[str]:
    """The names of classes and functions in the pickles of a checkpoint."""
    if not zipfile.is_zipfile(opened):
        opened.seek(0)
        for _ in range(_PICKLES_OF_OLD_FILES):
            yield from _globals(opened)
        return
    with zipfile.ZipFile(opened) as archive:
        entries = archive.infolist()
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if compressed or sum(entry.file_size for entry in entries) > file.stat().st_size:
            raise UserError(
                f"{file} cannot be read: its parts are compressed, and may unfold to any size; torch.save does not "
                "compress: load it where it comes from, and save it anew"
            )
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as pickled:
                    yield from _globals(pickled)


def _globals(pickled: IO[bytes]) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".")


def _harmless_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Types in published checkpoints beside tensors: numpy scalars and command-line options."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    numbers = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [
        argparse.Namespace,
        np.dtype,
        *(type(np.dtype(number)) for number in numbers),
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),  # its place before numpy 2
    ]


def _weights_of(checkpoint: object, file: Path) -> Mapping[str, Tensor]:
    candidates = [checkpoint]
    if isinstance(checkpoint, Mapping):
        candidates += [checkpoint[name] for name in _CONTAINERS if name in checkpoint]
    for candidate in candidates:
        if isinstance(candidate, Mapping) and candidate and all(map(torch.is_tensor, candidate.values())):
            _check_kinds(candidate.items(), file)
            return candidate
    places = ", ".join(_CONTAINERS)
    raise UserError(f"{file} contains no state dict, neither at its top level nor under {places}")


def _check_kinds(items: Iterable[tuple[object, Tensor]], file: Path) -> None:
    for key, tensor in items:
        if not isinstance(key, str):
            raise UserError(f"{file} is no state dict: the key {key!r} is not the name of a tensor")
        kind = _kind(tensor)
        if kind is not None:
            raise UserError(f"{file}: {key} is a {kind} tensor; only dense ones with values are read")


def _kind(tensor: Tensor) -> str | None:
    """The kind of a tensor that is none of plain values."""
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout != torch.strided:
        return "sparse"
    return "meta" if tensor.is_meta else None
