"""A data set of the map-style data sets that a third-party source returns."""

from collections.abc import Mapping
from typing import Any

from smskd.data.dataset import Dataset
from smskd.data.images import numbered_classes
from smskd.data.listed import listed_class_names
from smskd.data.samples import Samples, Split, read_labels
from smskd.data.sources.catalog import Track
from smskd.data.splits import matching_split, require_map_style
from smskd.data.text_dataset import TextDataset
from smskd.errors import UserError, nearest

_PARTS = ("train", "test", "validation")


def as_dataset(found: Any, name: str, track: Track | None = None) -> Dataset | TextDataset:
    """The data set that a source returned.

    Args:
        found: a :class:`~smskd.data.Dataset` or :class:`~smskd.data.TextDataset`, which is returned as it is; or
            map-style data sets of (image, label) pairs: a mapping with the keys ``train``, ``test`` and perhaps
            ``validation``, or a pair (train, test). Their samples are streamed. Images of bytes are scaled to 0..1,
            and by default neither cropped nor flipped; a source that wants more returns a :class:`~smskd.data.Dataset`.
        name: of the source.
        track: shows progress where labels have to be read sample by sample, because the data set lists neither its
            ``classes`` nor its ``targets``.

    Raises:
        UserError: it is none of these, or test images have a class that training images do not have.
    """
    if isinstance(found, Dataset | TextDataset):
        return found
    parts = _parts(found, name)
    class_names = class_names_of(parts["train"], track)
    splits = {
        part: matching_split(samples, parts["train"], class_names, "training" if part == "train" else part)
        for part, samples in parts.items()
    }
    channels = splits["train"].shape[0]
    return Dataset(name=name, mean=(0.0,) * channels, std=(1.0,) * channels, padding=0, flip=False, **splits)


def class_names_of(samples: Samples | Split, track: Track | None = None) -> tuple[str, ...]:
    """The names of the classes: the listed ``classes``, else the numbers up to the largest label.

    Args:
        samples: map-style data set of (image, label) pairs.
        track: shows progress where every label has to be read.
    """
    names = listed_class_names(samples)
    if names is not None:
        return names
    return numbered_classes(read_labels(samples, track))


def _parts(found: Any, name: str) -> dict[str, Any]:
    if isinstance(found, Mapping):
        for key in found:
            if key not in _PARTS:
                raise UserError(f"data source '{name}' returned a part '{key}'{nearest(str(key), _PARTS)}")
        parts = dict(found)
    elif isinstance(found, tuple | list) and len(found) == 2:
        parts = {"train": found[0], "test": found[1]}
    else:
        raise UserError(
            f"data source '{name}' returned an object of type {type(found).__name__}; it has to return "
            "a smskd.data.Dataset, or map-style data sets as {'train': ..., 'test': ...} or (train, test)"
        )
    for part in {"train": None, "test": None, **parts}:
        require_map_style(parts.get(part), f"data source '{name}': {part}")
    return parts
