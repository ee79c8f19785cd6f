"""The pictures that a loader can ever give: whoever keeps something of each of them has to know how many, and which."""

import hashlib
from dataclasses import dataclass

from smskd.data.augment.crop_flip import Augmentation


@dataclass(frozen=True)
class AugmentationSpace:
    """All the pictures that a loader can ever give.

    Attributes:
        identity: hexadecimal, of the pictures and of what they go through: where it is the same, a number of a sample
            and a number of a variant mean the same picture.
        samples: in the data set.
        variants: of each sample; None where random transforms of the data set's own make them uncountable.
        batches: how samples are put together, on which such transforms' random draws depend.
    """

    identity: str
    samples: int
    variants: int | None
    batches: str


def identified(*facts: object) -> str:
    """The identity that follows from some facts, whose ``repr`` says all of them."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def seen_through(augmentation: Augmentation) -> tuple[object, ...]:
    """What an augmentation does to the values of pictures."""
    return augmentation.mean, augmentation.std, augmentation.padding, augmentation.flip
