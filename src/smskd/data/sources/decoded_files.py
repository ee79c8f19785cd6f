"""A data set in memory, of image files that have been found."""

from collections.abc import Iterable

from torch import Tensor

from smskd.config.data import SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.images import Images
from smskd.data.memory import allocate_images
from smskd.data.sources.catalog import Track
from smskd.data.sources.image_decoding import ImageForm, decode_all, decode_image, size_of_image
from smskd.data.sources.image_files import ImageFiles, read_file
from smskd.data.statistics import whole_statistics


def decoded_dataset(
    name: str,
    train: ImageFiles,
    test: ImageFiles,
    image_size: tuple[int, int] | None,
    channels: int,
    max_pixels: int,
    subset: SubsetConfig | None,
    track: Track | None,
) -> Dataset:
    """All images of a subset decoded and kept as bytes; mean and standard deviation are those of the whole.

    Args:
        name: of the data source.
        train: the whole training part.
        test: the whole test part, with the classes of the training part.
        image_size: (height, width) to which images are resized; None: that of the first training image, which all
            have to have.
        channels: 3 for RGB, 1 for gray.
        max_pixels: an encoded image with more pixels is refused.
        subset: the images that are kept; None: all.
        track: shows progress of each part.

    Raises:
        UserError: an image cannot be read or decoded, or has another size; or they do not fit in memory.
    """
    subset = subset or SubsetConfig()
    train_files, test_files = train.chosen(subset.train, subset.seed), test.chosen(subset.test, subset.seed)
    height, width = image_size or size_of_image(read_file(train.paths[0], max_pixels), train.paths[0], max_pixels)
    form = ImageForm((channels, height, width), resize=image_size is not None, max_pixels=max_pixels)
    train_images, test_images = _read(train_files, form, "training", track), _read(test_files, form, "test", track)
    whole = train_files is train

    def pixels(rows: Tensor) -> Tensor:
        return (train_images.take(rows) if whole else _read(train.take(rows), form)).pixels

    mean, std = whole_statistics(train.labels, len(train.class_names), pixels, None if whole else track)
    return Dataset(name=name, train=train_images, test=test_images, mean=mean, std=std)


def _read(files: ImageFiles, form: ImageForm, part: str = "training", track: Track | None = None) -> Images:
    total = len(files)
    pixels = allocate_images(total, form.shape, part)
    array = pixels.numpy()

    def decode(place: int) -> None:
        path = files.paths[place]
        array[place] = decode_image(read_file(path, form.max_pixels), path, form)

    done: Iterable[int] = decode_all([range(total)], decode)
    for _ in done if track is None else track(done, total):
        pass
    return Images(pixels, files.labels, files.class_names)
