"""Data sets of images and of texts of the Hugging Face library `datasets`."""

from smskd.config.data import SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_dataset import encoded_dataset, form_of
from smskd.data.sources.hf_splits import labelled_splits, open_splits
from smskd.data.sources.hf_texts import holds_texts, text_table
from smskd.data.sources.image_decoding import MAX_PIXELS, Channels, ImageSize, MaxPixels
from smskd.data.sources.text import Length, Multiple
from smskd.data.sources.tokenized import MAX_LENGTH, text_dataset
from smskd.data.text_dataset import TextDataset
from smskd.data.texts import MULTIPLE


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
    streaming: bool | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    tokenizer: str | None = None,
    teacher_tokenizer: str | None = None,
    max_length: Length = MAX_LENGTH,
    pad_to_multiple_of: Multiple = MULTIPLE,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset | TextDataset:
    """A data set of the library `datasets`: from the Hugging Face hub, or a folder of ``DatasetDict.save_to_disk``.

    Images are decoded as a viewer displays them: see :func:`smskd.data.pil_images.as_bytes`. The names of the classes
    are those of the label column where it is of type ClassLabel; training and test classes are then matched by name.
    Mean and standard deviation are those of the whole training split, of more than 4,096 images of a fixed choice of
    4,096 in which each class has its share. A data set without images is one of texts: they are kept in memory as token
    ids, as those of :func:`~smskd.data.sources.text.text` are. Needs the extra ``smskd[datasets]``.

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
            memory as bytes; the results are the same. Default: where their pixels take more than 512 MiB, or as
            ``data.loader.kind`` says.
        text_column, text_pair_column, tokenizer, teacher_tokenizer, max_length, pad_to_multiple_of: of texts; see
            :func:`~smskd.data.sources.text.text`.
        subset: the images that are used.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: the library, the data set, a split or a column is missing; an image cannot be decoded or has another
            size, or a label is not a class: split and row (counted from 0) are named; or the images do not fit in
            memory.
    """
    test_split, splits = open_splits(dataset, configuration, revision, train_split, test_split)
    if tokenizer is not None or holds_texts(splits[train_split].features):
        return text_dataset(
            "hf",
            text_table(dataset, train_split, splits[train_split]),
            text_table(dataset, test_split, splits[test_split]),
            (text_column, text_pair_column, label_column),
            tokenizer,
            teacher_tokenizer,
            max_length,
            pad_to_multiple_of,
            subset or SubsetConfig(),
            track,
        )
    train, test = labelled_splits(dataset, splits, train_split, test_split, image_column, label_column)
    form = form_of(train, image_size, channels, max_pixels)
    return encoded_dataset("hf", train, test, form, subset=subset, streaming=streaming, track=track)
