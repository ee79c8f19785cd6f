"""Where the samples of a shard of a WebDataset lie, and their labels."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from smskd.data.sources.image_files import SUFFIXES
from smskd.data.sources.tar_members import Member, members, readable
from smskd.errors import UserError

Label = int | str
"""The number of a class, or its name."""

_LARGEST_LABEL, _LARGEST_JSON = 2**12, 2**20
"""In bytes."""
_INTEGER = re.compile(r"[+-]?\d{1,18}")


@dataclass(frozen=True)
class LabelPlace:
    """Where the label of a sample is.

    Attributes:
        extension: of the file beside the image, such as ``cls`` or ``json``; None: ``cls``, or ``json`` where there is
            no ``cls``.
        key: of the label in a JSON file.
        image: extension of the image, for samples with several; None: the only image.
    """

    extension: str | None = None
    key: str = "label"
    image: str | None = None


@dataclass
class Shard:
    """The samples of a shard, in its order."""

    offsets: list[int] = field(default_factory=list)
    """Of the images, in bytes."""
    sizes: list[int] = field(default_factory=list)
    """Of the images, in bytes."""
    labels: list[Label] = field(default_factory=list)


def read_shard(path: Path, place: LabelPlace) -> Shard:
    """Reads the headers of a shard, and its labels.

    Consecutive files whose names agree up to the first dot are a sample, as in the library webdataset.

    Raises:
        UserError: the shard is missing or damaged, or a sample has no label, or not one image: the sample is named.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    shard, samples = Shard(), _samples(path)
    with readable(path), path.open("rb") as contents:
        for key, files in samples:
            where = f"{path}, sample {key}"
            image = _image(files, place, where)
            shard.offsets.append(image.offset)
            shard.sizes.append(image.size)
            shard.labels.append(_label(files, place, contents, where))
    if not shard.labels:
        raise UserError(f"{path} has no samples")
    return shard


def _samples(path: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """The key of each sample, and its files by extension."""
    current: str | None = None
    files: dict[str, Member] = {}
    for member in members(path):
        folder, slash, name = member.name.rpartition("/")
        stem, dot, extension = name.partition(".")
        if not dot or not stem or (stem.startswith("__") and stem.endswith("__")):
            continue  # facts about the shard
        key, extension = f"{folder}{slash}{stem}", extension.lower()
        if key != current:
            if current is not None:
                yield current, files
            current, files = key, {}
        if extension in files:
            raise UserError(f"{path}, sample {key} has two files .{extension}")
        files[extension] = member
    if current is not None:
        yield current, files


def _image(files: dict[str, Member], place: LabelPlace, where: str) -> Member:
    if place.image is not None:
        if place.image not in files:
            raise UserError(f"{where} has no file .{place.image}, only {_listed(files)}")
        return files[place.image]
    images = [extension for extension in files if f".{extension.rpartition('.')[2]}" in SUFFIXES]
    if len(images) != 1:
        found = (
            f"has the images {_listed(images)}; give image_extension"
            if images
            else f"has no image, only {_listed(files)}"
        )
        raise UserError(f"{where} {found}")
    return files[images[0]]


def _label(files: dict[str, Member], place: LabelPlace, contents: BinaryIO, where: str) -> Label:
    usual = ("cls", "json") if place.extension is None else (place.extension,)
    extension = next((name for name in usual if name in files), None)
    if extension is None:
        raise UserError(f"{where} has no label (.{' or .'.join(usual)}), only {_listed(files)}")
    where, member = f"{where}.{extension}", files[extension]
    of_json = extension.rpartition(".")[2] == "json"
    limit = _LARGEST_JSON if of_json else _LARGEST_LABEL
    if member.size > limit:
        raise UserError(f"{where} has {member.size} bytes, too many for a label")
    contents.seek(member.offset)
    content = contents.read(member.size)
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise UserError(f"{where} is not a text in UTF-8") from None
    return _of_json(text, place.key, where) if of_json else _of_text(text, where)


def _of_text(text: str, where: str) -> Label:
    if not text or "\n" in text:
        raise UserError(f"{where} holds {text[:40]!r}; it has to be the number or the name of a class")
    return int(text) if _INTEGER.fullmatch(text) else text


def _of_json(text: str, key: str, where: str) -> Label:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or key not in found:
        keys = ", ".join(list(found)[:8]) if isinstance(found, dict) else f"no mapping but {type(found).__name__}"
        raise UserError(f"{where} has no '{key}'; give label_key: it has {keys}")
    label = found[key]
    if isinstance(label, str):
        return _of_text(label.strip(), where)
    if isinstance(label, bool) or not isinstance(label, int):
        raise UserError(f"{where}: '{key}' is {str(label)[:40]}; it has to be the number or the name of a class")
    return label


def _listed(extensions: object) -> str:
    return ", ".join(f".{extension}" for extension in list(extensions)[:6]) or "none"  # type: ignore[call-overload]
