"""The files of an image folder: facts from their headers, and its images as they are, of whatever sizes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from smskd.config.data import DataConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.description import EXAMINED, spread_rows
from smskd.data.pil_images import displayed_size, is_gray
from smskd.data.samples import StreamedSamples
from smskd.data.sources.image_decoding import MAX_PIXELS, displayed_image, open_image
from smskd.data.sources.image_files import ImageFiles, find_image_files, read_file
from smskd.data.sources.image_folder import image_folder, test_folder
from smskd.data.sources.options import checked_options
from smskd.data.validation import with_validation
from smskd.errors import UserError

_ORIENTATION = 0x0112
_UPRIGHT = (None, 0, 1)


@dataclass(frozen=True)
class FileFacts:
    """Facts of encoded images, from their headers.

    Attributes:
        files: number of files.
        examined: number of files whose headers were read.
        sizes: files by size as displayed (height x width), most frequent first.
        odd: files by whatever is unusual about them, such as ``16 bits a channel``, most frequent first.
        examples: the first file of each kind of ``odd``.
    """

    files: int
    examined: int
    sizes: dict[str, int]
    odd: dict[str, int]
    examples: dict[str, str]


class FolderContents:
    """The files of a data source ``image_folder``.

    Args:
        config: settings with this source.

    Raises:
        UserError: a mistake in the options, or a folder is missing, cannot be read or has no images.
    """

    def __init__(self, config: DataConfig) -> None:
        options = checked_options(image_folder, "image_folder", config.source.options)
        root = expanded(options["root"])
        self._config = config
        self._channels: int = options.get("channels", 3)
        self._max_pixels: int = options.get("max_pixels", MAX_PIXELS)
        self.resized = options.get("image_size") is not None
        subset = config.subset
        self.train = find_image_files(root / "train").chosen(subset.train, subset.seed)
        self.test = find_image_files(test_folder(root)).chosen(subset.test, subset.seed)

    def facts(self) -> FileFacts:
        """Facts from the headers of at most 2,000 files, evenly spread."""
        paths = [*self.train.paths, *self.test.paths]
        chosen = [paths[row] for row in spread_rows(len(paths), EXAMINED)]
        return _facts(chosen, len(paths), self._max_pixels)

    def dataset(self) -> Dataset:
        """The images in their own sizes, streamed and not normalised.

        Raises:
            UserError: the classes of the parts differ, or the first training image cannot be decoded.
        """
        train, test = (
            StreamedSamples(FolderImages(files, self._channels, self._max_pixels), files.class_names)
            for files in (self.train, self.test)
        )
        mean, std = (0.0,) * self._channels, (1.0,) * self._channels
        dataset = Dataset(name="image_folder", train=train, test=test, mean=mean, std=std)
        validation = self._config.validation
        return dataset if validation is None else with_validation(dataset, validation, self._config.source)

    def path(self, part: str, row: int) -> str | None:
        """The file of an image; None where the rows of the part are not those of its files."""
        if part == "validation" or (part == "train" and self._config.validation is not None):
            return None
        return (self.train if part == "train" else self.test).paths[row]


def _facts(paths: Sequence[str], total: int, max_pixels: int) -> FileFacts:
    sizes, odd, examples = Counter[str](), Counter[str](), dict[str, str]()
    for path in paths:
        try:
            image = open_image(read_file(path, max_pixels), path, max_pixels)
        except UserError:
            kinds = ["unreadable"]
        else:
            height, width = displayed_size(image)
            sizes[f"{height}x{width}"] += 1
            kinds = _oddities(image)
        for kind in kinds:
            odd[kind] += 1
            examples.setdefault(kind, path)
    return FileFacts(total, len(paths), dict(sizes.most_common()), dict(odd.most_common()), examples)


def _oddities(image: Image.Image) -> list[str]:
    facts = {
        "grayscale": is_gray(image),
        "palette": image.mode in ("P", "PA"),
        "16 bits a channel": image.mode == "I" or image.mode.startswith("I;16"),
        "floats": image.mode == "F",
        "CMYK": image.mode == "CMYK",
        "transparency": image.has_transparency_data,
        "turned by EXIF": _orientation(image) not in _UPRIGHT,
        "several frames": bool(getattr(image, "is_animated", False)) and image.format != "MPO",
    }
    return [kind for kind, holds in facts.items() if holds]


def _orientation(image: Image.Image) -> Any:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF data, of which the decoder makes nothing either
        return None


class FolderImages:
    """The images of a part as they are displayed, each of its own size: a map-style data set.

    Args:
        files: the image files.
        channels: 3 for RGB, 1 for gray.
        max_pixels: the most pixels of an image.
    """

    def __init__(self, files: ImageFiles, channels: int, max_pixels: int) -> None:
        self.files = files
        self.channels = channels
        self.max_pixels = max_pixels
        self.classes = list(files.class_names)
        self.targets = files.labels.tolist()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        """The image of a row and its label.

        Raises:
            UserError: the file cannot be read or decoded.
        """
        path = self.files.paths[row]
        content = read_file(path, self.max_pixels)
        return displayed_image(content, path, self.channels, self.max_pixels), self.targets[row]
