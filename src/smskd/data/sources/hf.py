"""Data sets of images of the Hugging Face library `datasets`."""

from collections.abc import Iterable, Iterator
from functools import partial

from torch import Tensor

from smskd.config.data import SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.images import Images, subset_rows
from smskd.data.memory import allocate_images
from smskd.data.samples import Split, StreamedSamples
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_images import EncodedImages
from smskd.data.sources.hf_splits import HubSplit, labelled_splits, open_splits
from smskd.data.sources.image_decoding import (
    MAX_PIXELS,
    Channels,
    ImageForm,
    ImageSize,
    MaxPixels,
    decode_all,
    decode_image,
    size_of_image,
)
from smskd.data.statistics import whole_statistics

_GROUP = 256
"""Encoded images that are held at a time."""


def hf(
    dataset: str,
    configuration: str | None = None,
    revision: str | None = None,
    train_split: str = "train",
    test_split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    image_size: ImageSize | None = None,
    channels: Channels = 3,
    max_pixels: MaxPixels = MAX_PIXELS,
    streaming: bool = False,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """A data set of the library `datasets`: from the Hugging Face hub, or a folder of ``DatasetDict.save_to_disk``.

    Images are decoded as a viewer displays them: see :func:`smskd.data.pil_images.as_bytes`. The names of the classes
    are those of the label column where it is of type ClassLabel; training and test classes are then matched by name.
    Mean and standard deviation are those of the whole training split, of more than 4,096 images of a fixed choice of
    4,096 in which each class has its share. Needs the extra ``smskd[datasets]``.

    Args:
        dataset: the folder, if there is one of this name; else the name on the hub, such as ``uoft-cs/cifar10``, which
            is fetched into the library's cache.
        configuration: of a data set on the hub that has several; default: its own default.
        revision: branch, tag or commit on the hub; default: the newest.
        train_split: default ``train``.
        test_split: default: ``test``, or ``validation``, ``valid`` or ``val`` where there is none. A split without
            labels (-1) is refused.
        image_column: default: the only column of images.
        label_column: default: the only column of class labels, or the one named ``label``, ``labels`` or
            ``fine_label``.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size, and then all must be of one size.
        channels: 3 converts every image to RGB, 1 to gray; default 3.
        max_pixels: an encoded image with more pixels is refused; default 67,108,864 (8192x8192), at most 178,956,970,
            the limit of Pillow.
        streaming: decode an image whenever it is needed, from the library's files on disk, instead of keeping all in
            memory as bytes; default false.
        subset: the images that are used.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: the library, the data set, a split or a column is missing; an image cannot be decoded or has another
            size, or a label is not a class: split and row (counted from 0) are named; or the images do not fit in
            memory.
    """
    subset = subset or SubsetConfig()
    test_split, splits = open_splits(dataset, configuration, revision, train_split, test_split)
    train, test = labelled_splits(dataset, splits, train_split, test_split, image_column, label_column)
    height, width = image_size or size_of_image(*train.read(0), max_pixels)
    form = ImageForm((channels, height, width), resize=image_size is not None, max_pixels=max_pixels)
    chosen = subset_rows(len(train), subset.train or len(train), subset.seed)
    chosen_test = subset_rows(len(test), subset.test or len(test), subset.seed)
    train_images: Split
    test_images: Split
    if streaming:
        train_images, test_images = _streamed(train, chosen, form), _streamed(test, chosen_test, form)
    else:
        train_images = _decoded(train, chosen, form, "training", track)
        test_images = _decoded(test, chosen_test, form, "test", track)

    def pixels(rows: Tensor) -> Tensor:
        if isinstance(train_images, Images) and chosen is None:
            return train_images.pixels[rows]
        return _encoded(train, form).images(rows)

    quick = chosen is None and not streaming
    mean, std = whole_statistics(train.labels, len(train.class_names), pixels, None if quick else track)
    return Dataset(name="hf", train=train_images, test=test_images, mean=mean, std=std)


def _encoded(split: HubSplit, form: ImageForm) -> EncodedImages:
    return EncodedImages(split, split.labels, split.class_names, partial(decode_image, form=form))


def _streamed(split: HubSplit, rows: Tensor | None, form: ImageForm) -> StreamedSamples:
    return StreamedSamples(_encoded(split, form), split.class_names, rows)


def _decoded(split: HubSplit, rows: Tensor | None, form: ImageForm, part: str, track: Track | None) -> Images:
    chosen = range(len(split)) if rows is None else rows.tolist()
    pixels = allocate_images(len(chosen), form.shape, part)
    array = pixels.numpy()

    def groups() -> Iterator[list[tuple[int, bytes | None, str]]]:
        for begin in range(0, len(chosen), _GROUP):
            some = enumerate(chosen[begin : begin + _GROUP], start=begin)
            yield [(place, *split.read(row)) for place, row in some]

    def decode(item: tuple[int, bytes | None, str]) -> None:
        place, content, where = item
        array[place] = decode_image(content, where, form)

    done: Iterable[int] = decode_all(groups(), decode)
    for _ in done if track is None else track(done, len(chosen)):
        pass
    return Images(pixels, split.labels if rows is None else split.labels[rows], split.class_names)
