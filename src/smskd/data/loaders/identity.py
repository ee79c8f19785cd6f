"""All the images that a loader can produce: a cache with an entry for each needs their number and identity."""

import hashlib
from dataclasses import dataclass

from smskd.data.augment.crop_flip import Augmentation


@dataclass(frozen=True)
class AugmentationSpace:
    """All the images that a loader can produce.

    Attributes:
        identity: hexadecimal, of the data and their augmentation: where it is the same, the numbers of a sample and of
            a variant stand for the same image.
        samples: number of samples in the data set.
        variants: of each sample; None where random transforms of the data set itself make them uncountable.
        batches: hexadecimal, of how samples are put into batches, on which the random draws of such transforms depend.
        padding: of sequences: the name of each tensor, and the value by which it is filled up.
    """

    identity: str
    samples: int
    variants: int | None
    batches: str
    padding: tuple[tuple[str, float], ...] = ()


def identity_of(*facts: object) -> str:
    """The identity that follows from some facts, each given in full by its ``repr``."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def pixel_settings(augmentation: Augmentation) -> tuple[object, ...]:
    """The settings of an augmentation that determine the values of images."""
    return augmentation.mean, augmentation.std, augmentation.padding, augmentation.flip
