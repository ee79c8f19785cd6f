"""All the images that a loader can produce: a cache with an entry for each needs their number and identity."""

import hashlib
from dataclasses import dataclass

from smskd.config.base import plain
from smskd.data.augment.crop_flip import Augmentation


@dataclass(frozen=True)
class AugmentationSpace:
    """All the images that a loader can produce.

    Attributes:
        identity: hexadecimal, of the data and their augmentation: where it is the same, the numbers of a sample and of
            a variant stand for the same image.
        samples: number of samples in the data set.
        variants: of each sample; None where random transforms make them uncountable.
        batches: hexadecimal, of how samples are put into batches, on which the random draws of such transforms depend.
        padding: of sequences: the name of each tensor, and the value by which it is filled up.
        repeats: times that a sample occurs in an epoch.
    """

    identity: str
    samples: int
    variants: int | None
    batches: str
    padding: tuple[tuple[str, float], ...] = ()
    repeats: int = 1


def identity_of(*facts: object) -> str:
    """The identity that follows from some facts, each given in full by its ``repr``."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def augmentation_space(
    identity: str, samples: int, augmentation: Augmentation | None, batches: str
) -> AugmentationSpace:
    """The space of an augmentation; None: of transforms of the data set's own, which cannot be counted."""
    further = None if augmentation is None else augmentation.further
    countable = augmentation is not None and (further is None or further.countable)
    variants = augmentation.variants if augmentation is not None and countable else None
    return AugmentationSpace(identity, samples, variants, batches, repeats=1 if further is None else further.repeats)


def pixel_settings(augmentation: Augmentation) -> tuple[object, ...]:
    """The settings of an augmentation that determine the values of images."""
    settings = augmentation.mean, augmentation.std, augmentation.padding, augmentation.flip
    return settings if augmentation.further is None else (*settings, *further_settings(augmentation))


def further_settings(augmentation: Augmentation) -> tuple[tuple[str, object], ...]:
    """The settings beside crop and flip that differ from their defaults, as plain values."""
    settings = {} if augmentation.further is None else augmentation.further.settings()
    return tuple(sorted((name, plain(value)) for name, value in settings.items()))
