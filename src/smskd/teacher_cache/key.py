"""What a cache on disk is of: the same key, the same outputs of the same pictures."""

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smskd.config.cache import CacheConfig
from smskd.data.loaders.identity import AugmentationSpace
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models.hooks import HookedModel
from smskd.runs import atomic_files as files

FORMAT = 1


DESCRIPTION = "cache.json"


_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")


_PROBE_TOLERANCE = 1e-2
"""As a share of the largest value: between rounding on different machines and another network."""


@dataclass(frozen=True)
class Key:
    """What the outputs are of.

    Attributes:
        facts: all that they follow from, as JSON has it.
    """

    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """Hexadecimal."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:32]

    def folder(self, root: Path) -> Path:
        """Where its files are."""
        return root / self.digest


def key_of(
    teacher: FeatureModel,
    augmentation_space: AugmentationSpace,
    options: CacheConfig,
    device: torch.device,
    precision: str,
    *,
    tf32: bool,
) -> Key:
    """The key of a teacher's outputs.

    Args:
        teacher: as it is before, or after, freezing.
        augmentation_space: all the images that the loader can produce.
        options: how the outputs are kept.
        device: on which they are computed.
        precision: in which.
        tf32: whether products may be rounded to TF32.
    """
    replay = {"batches": augmentation_space.batches, "top": options.top} if options.mode == "replay" else None
    return Key(
        {
            "format": FORMAT,
            "teacher": type(teacher.wrapped).__qualname__,
            "weights": weights(teacher.wrapped),
            "structure": structure(teacher),
            "pictures": augmentation_space.identity,
            "samples": augmentation_space.samples,
            "variants": augmentation_space.variants,
            "replay": replay,
            "device": device.type,
            "precision": precision,
            "tf32": device.type == "cuda" and tf32,
        }
    )


def weights(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names, those that are not saved included."""
    digest = hashlib.sha256()
    for name, tensor in sorted((*model.named_parameters(), *model.named_buffers()), key=lambda pair: pair[0]):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def structure(model: FeatureModel) -> str:
    """SHA-256 of classes and layers, and of where the features are read."""
    own = model.wrapped
    where = dict(model.sources) if isinstance(model, HookedModel) else model.feature_names
    facts = (type(own).__module__, type(own).__qualname__, _ADDRESS.sub("", repr(own)), where)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def describe(folder: Path, key: Key, probe: dict[str, list[list[float]]]) -> None:
    """Writes down what a folder holds. What was in it is removed if that was computed by other code.

    Args:
        folder: of the key.
        key: of its content.
        probe: the network's outputs of some pictures that are always the same. A key cannot know what a ``forward``
            does.

    Raises:
        UserError: the folder cannot be written.
    """
    description = {**key.facts, "probe": probe}
    try:
        if not _agrees(_read(folder / DESCRIPTION), description):
            for file in folder.glob("*.rows"):
                file.unlink(missing_ok=True)
            files.write_json(folder / DESCRIPTION, description)
    except OSError as error:
        raise UserError(f"the teacher's cache {folder} cannot be written ({error.strerror})") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _agrees(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if {**found, "probe": None} != {**wanted, "probe": None}:
        return False
    try:
        pairs = [(torch.tensor(found["probe"][name]), torch.tensor(now)) for name, now in wanted["probe"].items()]
        return all(bool((one - two).abs().max() <= _PROBE_TOLERANCE * two.abs().max() + 1e-6) for one, two in pairs)
    except (KeyError, TypeError, ValueError, RuntimeError):
        return False


SEED = "seed.json"


def replayed_seed(key: Key, options: CacheConfig, seed: int) -> int:
    """The loader's seed with which the outputs of this key were recorded; where there are none yet, ``seed``, which
    later runs will then take.

    Raises:
        UserError: the folder cannot be written.
    """
    path = key.folder(options.path) / SEED
    with suppress(OSError, ValueError, TypeError, KeyError):
        return _known(path)
    try:
        files.write_json(path, {"seed": seed})
        return _known(path)
    except OSError as error:
        raise UserError(f"the teacher's cache {path} cannot be written ({error.strerror})") from None


def _known(path: Path) -> int:
    return int(json.loads(path.read_text(encoding="utf-8"))["seed"])
