"""The encoded images of a data source: facts from their headers, and the images as they are, of whatever sizes."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.description import EXAMINED, spread_rows
from smskd.data.images import subset_rows
from smskd.data.pil_images import displayed_size, is_gray
from smskd.data.samples import StreamedSamples
from smskd.data.sources.encoded_images import Encoded
from smskd.data.sources.encoded_parts import encoded_parts
from smskd.data.sources.image_decoding import MAX_PIXELS, displayed_image, open_image
from smskd.data.validation import with_validation
from smskd.errors import UserError

Read = Callable[[int], tuple[bytes | None, str]]
"""The bytes of an image by its row, and its place."""

_ORIENTATION = 0x0112
_UPRIGHT = (None, 0, 1)


@dataclass(frozen=True)
class FileFacts:
    """Facts of encoded images, from their headers.

    Attributes:
        files: number of encoded images.
        examined: number of images whose headers were read.
        sizes: images by size as displayed (height x width), most frequent first.
        odd: images by whatever is unusual about them, such as ``16 bits a channel``, most frequent first.
        examples: file, or place in a file, of the first image of each kind of ``odd``.
    """

    files: int
    examined: int
    sizes: dict[str, int]
    odd: dict[str, int]
    examples: dict[str, str]


class EncodedContents:
    """The encoded images of a data source that has such, as far as they are used.

    Args:
        config: settings with a source of :func:`~smskd.data.sources.encoded_parts.encoded_parts`.
        parts: its encoded training and test images.
    """

    def __init__(self, config: DataConfig, parts: tuple[Encoded, Encoded]) -> None:
        options, subset = config.source.options, config.subset
        self._config = config
        self._channels = int(options.get("channels", 3))
        self._max_pixels = int(options.get("max_pixels", MAX_PIXELS))
        self.resized = options.get("image_size") is not None or config.source.name == "imagenet"
        self.train = _Used.of(parts[0], subset.train, subset.seed)
        self.test = _Used.of(parts[1], subset.test, subset.seed)

    def facts(self) -> FileFacts:
        """Facts from the headers of at most 2,000 images, evenly spread."""
        total = len(self.train) + len(self.test)
        return _facts(spread_rows(total, EXAMINED), self._read, total, self._max_pixels)

    def _read(self, row: int) -> tuple[bytes | None, str]:
        """An image by its row in both parts, training images first."""
        beyond = row - len(self.train)
        return self.train.read(row) if beyond < 0 else self.test.read(beyond)

    def dataset(self) -> Dataset:
        """The images in their own sizes, streamed and not normalised.

        Raises:
            UserError: the first training image cannot be decoded.
        """
        train, test = (
            StreamedSamples(OwnSizes(part, self._channels, self._max_pixels), part.encoded.class_names)
            for part in (self.train, self.test)
        )
        mean, std = (0.0,) * self._channels, (1.0,) * self._channels
        dataset = Dataset(name=self._config.source.name, train=train, test=test, mean=mean, std=std)
        validation = self._config.validation
        return dataset if validation is None else with_validation(dataset, validation, self._config.source)

    def path(self, part: str, row: int) -> str | None:
        """The file of an image; None where the rows of the part are not those of its files."""
        if part == "validation" or (part == "train" and self._config.validation is not None):
            return None
        return (self.train if part == "train" else self.test).read(row)[1]


def file_facts(source: str, *, subset: SubsetConfig | None = None, **options: Any) -> FileFacts | None:
    """Facts of the encoded images of a data source, from the headers of at most 2,000 of them, without decoding any.

    Example:
        ``file_facts("image_folder", root="birds").sizes``

    Args:
        source: name of a built-in data source.
        subset: the part that is looked at; default: everything.
        **options: of the source, such as ``root``.

    Returns:
        None of a source whose images are not encoded one by one: ``digits``, CIFAR and ``parquet``, or your own.

    Raises:
        UserError: a mistake in the options, or files are missing or damaged.
    """
    config = DataConfig(ComponentConfig(source, options), subset or SubsetConfig())
    parts = encoded_parts(config.source)
    return None if parts is None else EncodedContents(config, parts).facts()


@dataclass(frozen=True)
class _Used:
    """The images of a part that are used."""

    encoded: Encoded
    rows: Tensor | None

    @classmethod
    def of(cls, encoded: Encoded, limit: int | None, seed: int) -> "_Used":
        return cls(encoded, subset_rows(len(encoded), limit or len(encoded), seed))

    def __len__(self) -> int:
        return len(self.encoded) if self.rows is None else len(self.rows)

    @property
    def labels(self) -> Tensor:
        """int64 [N]"""
        return self.encoded.labels if self.rows is None else self.encoded.labels[self.rows]

    def read(self, row: int) -> tuple[bytes | None, str]:
        """The bytes of an image, and its place."""
        return self.encoded.read(row if self.rows is None else int(self.rows[row]))


def _facts(rows: Iterable[int], read: Read, total: int, max_pixels: int) -> FileFacts:
    sizes, odd, examples, examined = Counter[str](), Counter[str](), dict[str, str](), 0
    for row in rows:
        examined += 1
        kinds, where = ["unreadable"], f"image {row}"
        try:
            content, where = read(row)
            image = open_image(content, where, max_pixels)
        except UserError as error:
            where = str(error).partition(":")[0] if where == f"image {row}" else where
        else:
            height, width = displayed_size(image)
            sizes[f"{height}x{width}"] += 1
            kinds = _oddities(image)
        for kind in kinds:
            odd[kind] += 1
            examples.setdefault(kind, where)
    return FileFacts(total, examined, dict(sizes.most_common()), dict(odd.most_common()), examples)


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


class OwnSizes:
    """The images of a part as they are displayed, each of its own size: a map-style data set.

    Args:
        part: the encoded images.
        channels: 3 for RGB, 1 for gray.
        max_pixels: the most pixels of an image.
    """

    def __init__(self, part: _Used, channels: int, max_pixels: int) -> None:
        self.part = part
        self.channels = channels
        self.max_pixels = max_pixels
        self.classes = list(part.encoded.class_names)
        self.targets = part.labels

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        """The image of a row and its label.

        Raises:
            UserError: the image cannot be read or decoded.
        """
        content, where = self.part.read(row)
        return displayed_image(content, where, self.channels, self.max_pixels), int(self.targets[row])
