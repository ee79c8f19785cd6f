"""Labelled images in the shards of a WebDataset: tars in which files of one name, up to the first dot, are a sample."""

from pathlib import Path

from pydantic import PositiveInt

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_dataset import encoded_dataset, form_of
from smskd.data.sources.encoded_images import Form
from smskd.data.sources.image_decoding import MAX_PIXELS, Channels, ImageSize, MaxPixels
from smskd.data.sources.imagenet import CentreCrop
from smskd.data.sources.shard_files import find_shards
from smskd.data.sources.shard_index import LabelPlace
from smskd.data.sources.shard_samples import ShardSamples, labelled, read_index
from smskd.data.sources.text_files import read_lines
from smskd.errors import UserError

_NAMES = "classnames.txt"


def webdataset(
    root: str | Path,
    train: str | None = None,
    test: str | None = None,
    image_extension: str | None = None,
    label_extension: str | None = None,
    label_key: str = "label",
    class_names: str | Path | None = None,
    image_size: ImageSize | None = None,
    shorter_side: PositiveInt | None = None,
    channels: Channels = 3,
    max_pixels: MaxPixels = MAX_PIXELS,
    streaming: bool | None = None,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """The training and test images of a folder of shards in the format of the library webdataset, which is not needed.

    Shards are uncompressed tars on disk. Their headers are read once, when training begins; from then on images are
    read by their position, so that order and augmentation follow from the seed as with any other source, a run is
    resumed exactly, and shuffling is complete rather than within a buffer. Images are decoded as a viewer displays
    them: see :func:`smskd.data.pil_images.as_bytes`. Mean and standard deviation are those of the whole training part,
    of more than 4,096 images of a fixed choice of 4,096 in which each class has its share.

    Args:
        root: the folder of the shards.
        train: pattern of the training shards, relative to ``root``, such as ``train-*.tar`` or
            ``imagenet-train-{0000..0146}.tar``; default: ``train/*.tar``, else all ``*.tar`` with ``train`` in their
            names. Of a pattern without braces no number may be missing.
        test: likewise of the test shards; default: ``test``, or ``validation``, ``valid``, ``val`` or ``eval`` where
            there is no ``test``.
        image_extension: the file of a sample that is its image, such as ``jpg``; default: the only one that is an
            image.
        label_extension: the file of a sample that holds its label; default: ``cls``, or ``json`` where there is no
            ``cls``. It holds the number of a class, counted from 0, or its name.
        label_key: of the label in a JSON file; default ``label``.
        class_names: a text file with the name of a class in each line, in the order of their numbers; default:
            ``classnames.txt`` in ``root`` where there is one. Without it classes are called by their numbers, or are
            the names that the training samples have, in alphabetical order.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size, and then all must be of one size.
        shorter_side: with it images are resized so that the shorter side has so many pixels, and ``image_size`` is
            cropped at the centre, as for ``imagenet``. Images are then RGB.
        channels: 3 converts every image to RGB, 1 to gray; default 3.
        max_pixels: an encoded image with more pixels is refused; default 67,108,864 (8192x8192), at most 178,956,970,
            the limit of Pillow.
        streaming: decode an image whenever it is needed, instead of keeping all in memory as bytes; the results are the
            same. Default: where their pixels take more than 512 MiB, or as ``data.loader.kind`` says.
        subset: the images that are used.
        track: shows progress; it is called for the shards of each part, and for each part with the running numbers of
            its images and how many they are.

    Raises:
        UserError: a shard is missing or damaged, a sample has no image or no label, or a label is not a class: the
            shard and the sample are named; an image cannot be decoded or has another size; or the images do not fit in
            memory.
    """
    place = LabelPlace(label_extension, label_key, image_extension)
    whole_train, whole_test = parts(expanded(root), train, test, place, class_names, max_pixels, track)
    form: Form
    if shorter_side is None:
        form = form_of(whole_train, image_size, channels, max_pixels)
    elif image_size is None or channels != 3:
        raise UserError("shorter_side needs image_size, and channels: 3")
    else:
        form = CentreCrop(image_size, shorter_side)
    return encoded_dataset("webdataset", whole_train, whole_test, form, subset=subset, streaming=streaming, track=track)


def parts(
    root: Path,
    train: str | None,
    test: str | None,
    place: LabelPlace,
    class_names: str | Path | None,
    max_pixels: int,
    track: Track | None = None,
) -> tuple[ShardSamples, ShardSamples]:
    """Training and test images, which count the same classes; the arguments are those of :func:`webdataset`."""
    found = find_shards(root, train, test)
    listed = None
    if class_names is not None or (root / _NAMES).is_file():
        file = expanded(class_names) if class_names is not None else root / _NAMES
        listed = [line.strip() for line in read_lines(file) if line.strip()]
        if not listed:
            raise UserError(f"{file} lists no classes")
    indices = [read_index(shards, place, track) for shards in found]
    return labelled(indices[0], indices[1], listed, max_pixels)
