"""Images that occur more than once in a data set, compared by their exact pixels."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from smskd.data.images import Images

_EXAMPLES = 3
"""Groups of equal images that are listed."""

_PLACES = 4
"""Of each such group, the places that are listed."""


@dataclass(frozen=True)
class Place:
    """An image of a data set.

    Attributes:
        part: ``train``, ``validation`` or ``test``.
        row: in that part.
        label: of the image.
    """

    part: str
    row: int
    label: int


Group = tuple[Place, ...]


@dataclass(frozen=True)
class Shared:
    """Images that two parts have in common.

    Attributes:
        part: the one part.
        other: the other one.
        images: the number of images of ``other`` that are also in ``part``.
    """

    part: str
    other: str
    images: int


@dataclass(frozen=True)
class EqualImages:
    """Equal images within the parts of a data set and between them.

    Attributes:
        within: of each part, the number of images that repeat an earlier one of the same part.
        between: of each two parts, the images that both have.
        two_labels: the number of different images that have more than one label, in whatever parts.
        examples: the first groups of equal images with one label, each with up to 4 of its places.
        two_labels_examples: the first groups of equal images with several labels, likewise.
    """

    within: Mapping[str, int]
    between: tuple[Shared, ...]
    two_labels: int
    examples: tuple[Group, ...]
    two_labels_examples: tuple[Group, ...]


def find_equal_images(parts: Mapping[str, Iterable[tuple[bytes, Place]]]) -> EqualImages:
    """The equal images of a data set.

    Args:
        parts: of each part, digest and place of its images.
    """
    places: dict[bytes, list[Place]] = defaultdict(list)
    for images in parts.values():
        for digest, place in images:
            places[digest].append(place)
    groups = [tuple(group) for group in places.values() if len(group) > 1]
    contradictory = [group for group in groups if len({place.label for place in group}) > 1]
    alike = [group for group in groups if len({place.label for place in group}) == 1]
    return EqualImages(
        within={part: sum(max(0, _of(group, part) - 1) for group in groups) for part in parts},
        between=tuple(
            Shared(one, other, sum(_of(group, other) for group in groups if _of(group, one)))
            for one, other in combinations(parts, 2)
        ),
        two_labels=len(contradictory),
        examples=tuple(_shortened(group) for group in alike[:_EXAMPLES]),
        two_labels_examples=tuple(_shortened(group) for group in contradictory[:_EXAMPLES]),
    )


def image_digests(images: Images) -> Iterator[bytes]:
    """:func:`image_digest` of each image."""
    return map(image_digest, images.pixels.cpu())


def image_digest(image: Tensor) -> bytes:
    """A digest of type, shape and values of an image, [channels, height, width]."""
    digest = hashlib.blake2b(repr((image.dtype, tuple(image.shape))).encode(), digest_size=16)
    digest.update(image.contiguous().numpy().data)
    return digest.digest()


def _of(group: Group, part: str) -> int:
    return sum(place.part == part for place in group)


def _shortened(group: Group) -> Group:
    """Some places of a group, with as many of its labels and parts as they can show."""
    first = {(place.part, place.label): place for place in reversed(group)}
    chosen = sorted(first.values(), key=group.index)
    chosen += [place for place in group if place not in chosen]
    return tuple(sorted(chosen[:_PLACES], key=group.index))
