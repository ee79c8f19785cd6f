"""The files in the folder of a cache that describe it: its key, and the seed of a replay."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from smskd.config.cache import CacheConfig
from smskd.errors import UserError
from smskd.runs import atomic_files
from smskd.runs.checksums import verified, with_checksum
from smskd.teacher_cache.key import Key

DESCRIPTION = "cache.json"
SEED = "seed.json"
ROWS = ".rows"
"""Suffix of the files with outputs."""

_PROBE_TOLERANCE = 1e-2
"""Relative to the largest value: between the rounding of different machines and the outputs of another network."""

Probe = dict[str, list[list[float]]]
"""A network's outputs for fixed images, by name."""


def open_folder(folder: Path, key: Key, probe: Probe) -> None:
    """Writes the description of a cache. Outputs that were computed by other code are removed.

    Args:
        folder: of the key.
        key: of the outputs.
        probe: the network's outputs for fixed images, since a key cannot cover the code of ``forward``.

    Raises:
        UserError: the folder cannot be written.
    """
    description = {**key.facts, "probe": probe}
    try:
        if not _agree(_read(folder / DESCRIPTION), description):
            for file in folder.glob(f"*{ROWS}"):
                file.unlink(missing_ok=True)
            atomic_files.write_json(folder / DESCRIPTION, with_checksum(description))
    except OSError as error:
        raise _not_writable(atomic_files.not_writable(folder, error)) from None
    except UserError as error:
        raise _not_writable(error) from None


def replayed_seed(key: Key, options: CacheConfig, seed: int) -> int:
    """The loader's seed with which the outputs of this key were recorded.

    Args:
        key: of the outputs.
        options: the cache's, for its folder.
        seed: where none is recorded yet, this one is, and later runs take it.

    Raises:
        UserError: the folder cannot be written.
    """
    path = key.folder(options.path) / SEED
    with suppress(OSError, ValueError, TypeError, KeyError):
        return _recorded_seed(path)
    try:
        atomic_files.write_json(path, with_checksum({"seed": seed}))
        return _recorded_seed(path)
    except (OSError, ValueError) as error:
        raise UserError(f"the teacher's cache: {path} cannot be read ({error})") from None
    except UserError as error:
        raise _not_writable(error) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return verified(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _agree(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if {**found, "probe": None} != {**wanted, "probe": None}:
        return False
    try:
        pairs = [(torch.tensor(found["probe"][name]), torch.tensor(now)) for name, now in wanted["probe"].items()]
        return all(bool((one - two).abs().max() <= _PROBE_TOLERANCE * two.abs().max() + 1e-6) for one, two in pairs)
    except (KeyError, TypeError, ValueError, RuntimeError):
        return False


def _recorded_seed(path: Path) -> int:
    return int(verified(json.loads(path.read_text(encoding="utf-8")))["seed"])


def _not_writable(error: UserError) -> UserError:
    return UserError(f"the teacher's cache: {error}; choose another cache folder, or turn the cache off")
