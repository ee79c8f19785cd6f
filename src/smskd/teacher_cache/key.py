"""The key of a cache on disk: equal keys stand for equal outputs for equal images."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smskd.config.cache import CacheConfig
from smskd.data.loaders.identity import AugmentationSpace
from smskd.interfaces.features import FeatureModel
from smskd.models.hooks import HookedModel

FORMAT = 2
"""Of the files; changes with the layout of records."""

_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")


@dataclass(frozen=True)
class Key:
    """Identifies the outputs of a teacher.

    Attributes:
        facts: everything that determines them, in types of JSON.
    """

    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """The first 128 bits of the SHA-256 of the facts, hexadecimal."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:32]

    def folder(self, root: Path) -> Path:
        """The folder of its files below ``root``."""
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
        teacher: before or after freezing; the key is the same.
        augmentation_space: all the images that the loader can produce.
        options: how the outputs are kept.
        device: on which they are computed.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        tf32: whether a GPU may round the factors of float32 products to TF32.
    """
    replay = {"batches": augmentation_space.batches, "top": options.top} if options.mode == "replay" else None
    return Key(
        {
            "format": FORMAT,
            "teacher": type(teacher.wrapped).__qualname__,
            "weights": weights(teacher.wrapped),
            "structure": structure(teacher),
            "images": augmentation_space.identity,
            "samples": augmentation_space.samples,
            "variants": augmentation_space.variants,
            "replay": replay,
            "device": device.type,
            "precision": precision,
            "tf32": device.type == "cuda" and tf32,
        }
    )


def weights(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names, non-persistent buffers included; hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted((*model.named_parameters(), *model.named_buffers()), key=lambda pair: pair[0]):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def structure(model: FeatureModel) -> str:
    """SHA-256 of the network's class, its layers and the modules at which features are read; hexadecimal."""
    network = model.wrapped
    sources = [dict(part.sources) for part in model.modules() if isinstance(part, HookedModel)]
    features = sources or model.feature_names
    facts = (type(network).__module__, type(network).__qualname__, _ADDRESS.sub("", repr(network)), features)
    return hashlib.sha256(repr(facts).encode()).hexdigest()
