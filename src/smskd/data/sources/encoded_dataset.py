"""A data set of encoded images that have been found: held in memory, or decoded whenever they are needed."""

from collections.abc import Iterator

from torch import Tensor

from smskd.config.data import SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.images import Images, subset_rows
from smskd.data.memory import allocate_images, require_memory
from smskd.data.samples import Split, StreamedSamples
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_images import Encoded, EncodedImages, Form
from smskd.data.sources.image_decoding import ImageForm, decode_all, size_of_image
from smskd.data.statistics import Statistics, whole_statistics

MOST_HELD = 2**29
"""Bytes of pixels, of training and test images together, up to which images are decoded and held by default."""

_FEWEST = 2
"""Images that are held at a time when they are streamed: the smallest batch that can be trained on."""

_GROUP = 256
"""Encoded images that are held at a time where threads cannot read them."""


def form_of(train: Encoded, image_size: tuple[int, int] | None, channels: int, max_pixels: int) -> ImageForm:
    """The form of images that are resized, or have to have the size of the first training image.

    Args:
        train: the training images.
        image_size: (height, width) to which images are resized; None: that of the first one.
        channels: 3 for RGB, 1 for gray.
        max_pixels: an encoded image with more pixels is refused.

    Raises:
        UserError: the first image cannot be read.
    """
    height, width = image_size or size_of_image(*train.read(0), max_pixels)
    return ImageForm((channels, height, width), resize=image_size is not None, max_pixels=max_pixels)


def encoded_dataset(
    name: str,
    train: Encoded,
    test: Encoded,
    form: Form,
    *,
    subset: SubsetConfig | None,
    streaming: bool | None,
    track: Track | None,
    statistics: Statistics | None = None,
) -> Dataset:
    """The data set of encoded images. Held or streamed, the images are the same to the byte.

    Args:
        name: of the data source.
        train: the whole training part.
        test: the whole test part.
        form: decodes the images.
        subset: the images that are used; None: all.
        streaming: decode an image whenever it is needed, instead of holding all of them in memory; None: where their
            pixels take more than :data:`MOST_HELD`.
        track: shows progress of each part.
        statistics: mean and standard deviation; None: those of the whole training part.

    Raises:
        UserError: an image cannot be read or decoded, or the images do not fit in memory; or the classes of the parts
            do not fit each other.
    """
    subset = subset or SubsetConfig()
    chosen = subset_rows(len(train), subset.train or len(train), subset.seed)
    chosen_test = subset_rows(len(test), subset.test or len(test), subset.seed)
    count = sum(len(part) if rows is None else len(rows) for part, rows in ((train, chosen), (test, chosen_test)))
    if streams(streaming, count, form.shape):
        train_images: Split = _streamed(train, chosen, form)
        test_images: Split = _streamed(test, chosen_test, form)
    else:
        train_images = _decoded(train, chosen, form, "training", track)
        test_images = _decoded(test, chosen_test, form, "test", track)
    mean, std = statistics or _statistics(train, train_images, form, track)
    return Dataset(name=name, train=train_images, test=test_images, mean=mean, std=std)


def streams(streaming: bool | None, images: int, shape: tuple[int, int, int]) -> bool:
    """Whether images are decoded whenever they are needed.

    Args:
        streaming: the option of the source; None: it follows from the size.
        images: number of images.
        shape: (channels, height, width)

    Raises:
        UserError: they are, and memory does not suffice for a few of them.
    """
    channels, height, width = shape
    size = channels * height * width
    streamed = images * size > MOST_HELD if streaming is None else streaming
    if streamed:
        content = f"{_FEWEST} images of {channels}x{height}x{width}, as bytes and as float32,"
        require_memory(_FEWEST * size * (1 + 4), content, "take a smaller image_size")
    return streamed


def _streamed(encoded: Encoded, rows: Tensor | None, form: Form) -> StreamedSamples:
    return StreamedSamples(EncodedImages(encoded, form), encoded.class_names, rows)


def _statistics(train: Encoded, used: Split, form: Form, track: Track | None) -> Statistics:
    """Those of the whole training part, whatever part of it is used."""
    held = used.pixels if isinstance(used, Images) and len(used) == len(train) else None

    def pixels(rows: Tensor) -> Tensor:
        return EncodedImages(train, form).images(rows) if held is None else held[rows]

    return whole_statistics(train.labels, len(train.class_names), pixels, track if held is None else None)


def _decoded(encoded: Encoded, rows: Tensor | None, form: Form, part: str, track: Track | None) -> Images:
    chosen = range(len(encoded)) if rows is None else rows.tolist()
    pixels = allocate_images(len(chosen), form.shape, part)
    array = pixels.numpy()

    def decode(item: tuple[int, bytes | None, str]) -> None:
        place, content, where = item
        array[place] = form(content, where)

    def read_and_decode(place: int) -> None:
        decode((place, *encoded.read(chosen[place])))

    def read_groups() -> Iterator[list[tuple[int, bytes | None, str]]]:
        for begin in range(0, len(chosen), _GROUP):
            some = enumerate(chosen[begin : begin + _GROUP], start=begin)
            yield [(place, *encoded.read(row)) for place, row in some]

    threads = encoded.threads
    done = decode_all([range(len(chosen))], read_and_decode) if threads else decode_all(read_groups(), decode)
    for _ in done if track is None else track(done, len(chosen)):
        pass
    return Images(pixels, encoded.labels if rows is None else encoded.labels[rows], encoded.class_names)
