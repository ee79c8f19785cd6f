"""A data set of the map-style data sets that a third-party source returns."""

from collections.abc import Mapping, Sequence
from typing import Any

from smskd.data.dataset import Dataset
from smskd.data.images import Images
from smskd.data.samples import Samples, Split, StreamedSamples, read_labels
from smskd.data.sources.catalog import Track
from smskd.errors import UserError, nearest

_PARTS = ("train", "test", "validation")


def as_dataset(found: Any, name: str, track: Track | None = None) -> Dataset:
    """The data set that a source returned.

    Args:
        found: a :class:`~smskd.data.Dataset`, which is returned as it is; or map-style data sets of (image, label)
            pairs: a mapping with the keys ``train``, ``test`` and perhaps ``validation``, or a pair (train, test).
            Their samples are streamed. Images of bytes are scaled to 0..1, and by default neither cropped nor flipped;
            a source that wants more returns a :class:`~smskd.data.Dataset`.
        name: of the source.
        track: shows progress where labels have to be read sample by sample, because the data set lists neither its
            ``classes`` nor its ``targets``.

    Raises:
        UserError: it is none of these, or test images have a class that training images do not have.
    """
    if isinstance(found, Dataset):
        return found
    parts = _parts(found, name)
    class_names = class_names_of(parts["train"], track)
    splits = {part: _split(part, samples, class_names) for part, samples in parts.items()}
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
    return tuple(str(label) for label in range(int(read_labels(samples, track).max()) + 1))


def listed_class_names(samples: Samples | Split) -> tuple[str, ...] | None:
    """The class names that a data set lists, in ``classes`` as those of torchvision; else None."""
    if isinstance(samples, Images | StreamedSamples):
        return samples.class_names
    listed = getattr(samples, "classes", None)
    if isinstance(listed, Sequence) and not isinstance(listed, str) and listed:
        return tuple(str(name) for name in listed)
    return None


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
        if not hasattr(parts.get(part), "__getitem__") or not hasattr(parts.get(part), "__len__"):
            raise UserError(f"data source '{name}' returned no map-style data set (__len__, __getitem__) for {part}")
        if len(parts[part]) == 0:
            raise UserError(f"data source '{name}' returned no samples for {part}")
    return parts


def _split(part: str, samples: Samples | Split, class_names: tuple[str, ...]) -> Split:
    if not isinstance(samples, Images | StreamedSamples):
        samples = StreamedSamples(samples, listed_class_names(samples) or class_names)
    if samples.class_names == class_names:
        return samples
    try:
        return samples.with_classes(class_names)
    except UserError as error:
        raise UserError(f"{part} images: {error}") from None
