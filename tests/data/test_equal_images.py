"""Equal images within parts and between them."""

import torch

from smskd.data.equal_images import Place, find_equal_images, image_digest
from smskd.data.equal_images import Shared as shared


def found(**parts: list[tuple[bytes, int]]):
    """The equal images of parts, given as digest and label of each image."""
    return find_equal_images(
        {
            part: [(digest, Place(part, row, label)) for row, (digest, label) in enumerate(images)]
            for part, images in parts.items()
        }
    )


def test_no_image_twice():
    equal = found(train=[(b"a", 0), (b"b", 0)], test=[(b"c", 0)])
    assert equal.within == {"train": 0, "test": 0}
    assert equal.between == (shared("train", "test", 0),)
    assert (equal.two_labels, equal.examples, equal.two_labels_examples) == (0, (), ())


def test_every_repetition_counts_and_every_image_of_the_other_part():
    equal = found(
        train=[(b"a", 0), (b"a", 0), (b"a", 0), (b"b", 1)],
        validation=[(b"b", 1)],
        test=[(b"a", 0), (b"a", 0), (b"c", 1), (b"c", 1), (b"b", 1)],
    )
    assert equal.within == {"train": 2, "validation": 0, "test": 2}
    assert equal.between == (
        shared("train", "validation", 1),
        shared("train", "test", 3),
        shared("validation", "test", 1),
    )
    assert equal.two_labels == 0
    assert equal.examples[1] == (Place("train", 3, 1), Place("validation", 0, 1), Place("test", 4, 1))


def test_two_labels_of_one_image_are_counted_once_and_apart():
    equal = found(train=[(b"a", 0), (b"a", 1), (b"b", 0)], test=[(b"b", 1), (b"c", 0), (b"c", 0)])
    assert equal.two_labels == 2
    assert equal.two_labels_examples == (
        (Place("train", 0, 0), Place("train", 1, 1)),
        (Place("train", 2, 0), Place("test", 0, 1)),
    )
    assert equal.examples == ((Place("test", 1, 0), Place("test", 2, 0)),)


def test_an_example_shows_the_label_that_differs_however_late_it_is():
    equal = found(train=[(b"a", 0)] * 50 + [(b"a", 7)])
    ((*places,),) = equal.two_labels_examples
    assert len(places) == 4
    assert Place("train", 50, 7) in places


def test_digests_tell_shapes_and_types_apart():
    image = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    assert image_digest(image) == image_digest(image.clone())
    others = (image.reshape(1, 3, 4), image.reshape(3, 4, 1), image + 1, image.float(), image.transpose(1, 2))
    assert len({image_digest(image), *map(image_digest, others)}) == 6
