"""The number of the record in which the outputs for an image are kept."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from smskd.config.cache import CacheConfig
from smskd.data import mix_tensor
from smskd.data.loaders.identity import AugmentationSpace
from smskd.errors import UserError
from smskd.interfaces.batch import SampleKeys


class RecordIndex(ABC):
    """Assigns a record to each image that is cached."""

    count: int
    """Number of records."""

    @abstractmethod
    def records(self, keys: SampleKeys) -> Tensor | None:
        """The numbers of the records of a batch, int64 [N]; None where these images are not cached."""


class ByVariant(RecordIndex):
    """A record for each sample and augmentation variant."""

    def __init__(self, samples: int, variants: int) -> None:
        self._variants = variants
        self.count = samples * variants

    def records(self, keys: SampleKeys) -> Tensor | None:
        return None if keys.variant is None else keys.index * self._variants + keys.variant


class ByEpoch(RecordIndex):
    """A record for each epoch and sample."""

    def __init__(self, samples: int, epochs: int) -> None:
        self._samples, self._epochs = samples, epochs
        self.count = samples * epochs

    def records(self, keys: SampleKeys) -> Tensor | None:
        return (keys.epoch - 1) * self._samples + keys.index if 1 <= keys.epoch <= self._epochs else None


def record_index(space: AugmentationSpace, options: CacheConfig, epochs: int) -> RecordIndex:
    """The index of a cache.

    Args:
        space: all the images that the loader can produce.
        options: the mode.
        epochs: of the run, for ``replay``.

    Raises:
        UserError: see :func:`without_records`.
    """
    reason = without_records(space, options)
    if reason is not None:
        raise UserError(f"the teacher's cache '{options.mode}' cannot be used: {reason}")
    if options.mode == "replay":
        return ByEpoch(space.samples, epochs)
    assert space.variants is not None
    return ByVariant(space.samples, space.variants)


def without_records(space: AugmentationSpace, options: CacheConfig) -> str | None:
    """Why images have no records in a cache of this mode; None where they have."""
    if options.mode == "replay":
        if space.repeats == 1:
            return None
        return "it keeps one image of each sample and epoch, and data.augmentation.repeats gives several"
    if space.variants is not None:
        return None
    return "the random transforms of the images have no countable outcomes (teacher.cache.mode=replay needs none)"


def image_ids(keys: SampleKeys) -> Tensor:
    """An identifier of each image, int64 [N]: a record is valid only for the image that it was written for."""
    variant = torch.zeros_like(keys.index) if keys.variant is None else keys.variant
    return variant if keys.content is None else mix_tensor(keys.content, variant)
