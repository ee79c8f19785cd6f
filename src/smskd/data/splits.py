"""The data sets of a user as parts of one data set: the same classes, matched by name where they have names."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from smskd.data.dataset import Dataset
from smskd.data.images import Images, class_mapping
from smskd.data.listed import listed_class_names
from smskd.data.samples import Samples, Split, StreamedSamples
from smskd.errors import UserError


def require_map_style(data: Any, name: str) -> None:
    """Refuses data that have no samples, or whose samples cannot be read by their index.

    Args:
        data: the argument of a user.
        name: of the argument, for messages.

    Raises:
        UserError: `train must be a map-style data set of (image, label), not a DataLoader: give its data set ...`.
    """
    advice = _advice(data)
    if advice is not None or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        kind = type(data).__name__
        raise UserError(f"{name} must be a map-style data set of (image, label), not a {kind}{advice or ''}")
    try:
        samples = len(data)
    except (TypeError, NotImplementedError) as error:
        raise UserError(f"{name} must be a map-style data set of (image, label); this one has no length") from error
    if samples == 0:
        raise UserError(f"{name} has no samples")


def training_split(samples: Samples | Split, classes: int) -> Split:
    """A data set as the training part.

    Args:
        samples: the data set. Its class names are those that it lists, else the numbers of the classes.
        classes: number of classes that the network predicts.

    Raises:
        UserError: images in memory have more classes.
    """
    if isinstance(samples, Images) and samples.classes > classes:
        raise UserError(f"the images have {samples.classes} classes, the student {classes} output classes")
    if isinstance(samples, Images | StreamedSamples):
        return samples
    return StreamedSamples(samples, fitted_names(listed_class_names(samples), classes), part="training")


def matching_split(samples: Samples | Split, train: Samples | Split, class_names: tuple[str, ...], part: str) -> Split:
    """A data set as another part, with the labels that its classes have in the training part.

    Where both data sets list class names the classes are matched by name, otherwise by number.

    Args:
        samples: the data set.
        train: the training data, as the user gave them.
        class_names: of the training part.
        part: its name, for messages.

    Raises:
        UserError: one of its classes is not a class of the training data.
    """
    own, expected = listed_class_names(samples), listed_class_names(train)
    try:
        mapping = None if own is None or expected is None or own == expected else class_mapping(own, expected)
        return _relabelled(samples, mapping, class_names, part)
    except UserError as error:
        raise UserError(f"{part} images: {error}") from None


def fitted_names(names: tuple[str, ...] | None, classes: int) -> tuple[str, ...]:
    """As many names as there are classes: a part of a data set often lists more classes than it has."""
    if names is None:
        return tuple(str(label) for label in range(classes))
    return names[:classes] + tuple(f"class {label}" for label in range(len(names), classes))


def _relabelled(samples: Samples | Split, mapping: Tensor | None, class_names: tuple[str, ...], part: str) -> Split:
    if isinstance(samples, Images):
        if mapping is None and samples.class_names == class_names:
            return samples
        labels = samples.labels if mapping is None else mapping.to(samples.labels.device)[samples.labels]
        return Images(samples.pixels, labels, class_names)
    if isinstance(samples, StreamedSamples):
        own = samples.mapping
        joined = own if mapping is None else mapping if own is None else mapping[own]
        return replace(samples, class_names=class_names, mapping=joined, part=part)
    return StreamedSamples(samples, class_names, mapping=mapping, part=part)


def _advice(data: Any) -> str | None:
    """For the kinds of data that are often given by mistake."""
    if isinstance(data, DataLoader):
        return ": give its data set (loader.dataset), and set batch_size and loader"
    if isinstance(data, Dataset):
        return ": give its train, test or validation part"
    if isinstance(data, IterableDataset | Iterator):
        return ": its samples can only be read in order, and training reads them by their index"
    if isinstance(data, Mapping):
        keys = ", ".join(map(str, list(data)[:5]))
        return f" (with the keys {keys}): give one data set" if keys else ""
    if isinstance(data, str | bytes):
        return ""
    if _is_array(data):
        return ": give the labels too, as torch.utils.data.TensorDataset(images, labels)"
    if (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(item, np.ndarray | Tensor) for item in data)
    ):
        return " of two arrays: give torch.utils.data.TensorDataset(images, labels), of tensors"
    return None


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray | Tensor)
