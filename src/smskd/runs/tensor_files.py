"""Files of tensors with a digest: damage is noticed when they are read, whatever it hits."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from smskd.errors import UserError
from smskd.runs.atomic_files import replacing

METADATA = "smskd"
"""The metadata entry of these files, a JSON object. It is a single one, since safetensors writes several entries in
random order."""

_DIGEST = "sha256"
"""The key of the digest in it."""


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    parents: bool = True,
    others: Mapping[str, str] | None = None,
) -> None:
    """Writes a safetensors file atomically; equal content gives equal bytes.

    Args:
        path: of the file.
        tensors: by name, on any device; they are written contiguous.
        metadata: texts by name.
        parents: whether missing parent folders are created.
        others: entries for other programs, beside our own; with one, the order of the two in the file is random.

    Raises:
        UserError: the file cannot be written.
    """
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    own = dict(metadata or {})
    entry = json.dumps({**own, _DIGEST: _digest(contiguous, own)}, sort_keys=True)
    with replacing(path, parents=parents) as temporary:
        # Not safetensors' save_file: a process killed in it leaves a temporary file that nobody can attribute.
        temporary.write_bytes(save(contiguous, metadata={**(others or {}), METADATA: entry}))


def read_tensors(path: Path, *, own: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, on the CPU, and its metadata.

    The digest of a file that :func:`write_tensors` has written is compared. A file of another program has none, and is
    read as it is.

    Args:
        path: of the file.
        own: whether only files of :func:`write_tensors` are read.

    Raises:
        UserError: there is no such file, it cannot be read, or it is damaged.
    """
    with _told(path, own), _in_utf8(path) as name, safe_open(name, framework="pt") as file:
        entries = file.metadata() or {}
        metadata, digest = _own_metadata(path, entries) if own or _is_own(entries) else (entries, None)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if digest is not None and digest != _digest(tensors, metadata):
        raise damaged(path, "its content does not match its digest")
    return tensors, metadata


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a file of :func:`write_tensors`. Its tensors are not read, and its digest is not compared.

    Raises:
        UserError: there is no such file, it cannot be read, or it is damaged.
    """
    with _told(path, True), _in_utf8(path) as name, safe_open(name, framework="pt") as file:
        return _own_metadata(path, file.metadata() or {})[0]


def damaged(path: Path, reason: str) -> UserError:
    """The error for a file that is not as it was written."""
    return UserError(f"{path} is damaged ({reason})")


class _told:
    """Turns the errors of a file that is read into a line."""

    def __init__(self, path: Path, own: bool) -> None:
        self._path, self._own = path, own

    def __enter__(self) -> None:
        if not self._path.exists():
            raise UserError(f"there is no file {self._path}")
        if not self._path.is_file():  # reading a pipe would wait for ever
            raise UserError(f"{self._path} is not a file")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise UserError(f"{self._path} cannot be read: {error.strerror or error}") from error
        if isinstance(error, SafetensorError):
            if self._own:
                raise damaged(self._path, _first_line(error)) from error
            reason = f"it is damaged, or not a safetensors file ({_first_line(error)})"
            raise UserError(f"{self._path} cannot be read: {reason}") from error


@contextmanager
def _in_utf8(path: Path) -> Iterator[Path]:
    """A path of the file in UTF-8, since safetensors opens no other."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with TemporaryDirectory() as folder:
            link = Path(folder) / "link.safetensors"
            link.symlink_to(path.absolute())
            yield link
    else:
        yield path


def _is_own(entries: Mapping[str, str]) -> bool:
    """Whether these are the entries of a file of ours, be it with a damaged key."""
    return METADATA in entries or any(_DIGEST in value for value in entries.values())


def _own_metadata(path: Path, entries: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The metadata and the digest of a file of ours."""
    try:
        found = json.loads(entries[METADATA])
        digest = found.pop(_DIGEST)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise damaged(path, "it has no digest") from None
    if not all(isinstance(value, str) for value in (digest, *found.values())):
        raise damaged(path, "its metadata are not texts")
    return found, digest


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of names, types, shapes and bytes of all tensors, and of the metadata; hexadecimal."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
