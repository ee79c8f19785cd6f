"""The labels and class names that a data set lists, so that samples need not be read for them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from smskd.data.sample_pairs import LABEL_KEYS
from smskd.errors import UserError


@runtime_checkable
class Listing(Protocol):
    """A data set of this package, which knows its classes and perhaps its labels."""

    class_names: tuple[str, ...]

    def known_labels(self) -> Tensor | None: ...


def known_labels(dataset: Any) -> Tensor | None:
    """The labels, int64 [N] of 0 or more, where a data set lists them; else None.

    They are listed in ``targets`` or ``labels``, in the second tensor of a ``TensorDataset`` and in the label column
    of a data set of the library `datasets`.
    """
    if isinstance(dataset, Listing):
        return dataset.known_labels()
    if isinstance(dataset, Subset):
        whole = known_labels(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [labels for part in dataset.datasets if (labels := known_labels(part)) is not None]
        return torch.cat(parts) if len(parts) == len(dataset.datasets) else None
    if _changes_labels(dataset):
        return None
    try:
        known = torch.as_tensor(_listed(dataset))
        wanted = (len(dataset),)
    except Exception:  # of the data set's own code: what it does not list is read sample by sample
        return None
    if known.dtype.is_floating_point or known.is_complex() or known.dtype == torch.bool or known.shape != wanted:
        return None
    return known.to(torch.int64) if bool((known >= 0).all()) else None


def listed_class_names(dataset: Any) -> tuple[str, ...] | None:
    """The class names that a data set lists, in the order of its labels; else None.

    They are listed in ``class_to_idx`` or ``classes``, as those of torchvision do, or in the features of a data set of
    the library `datasets`.

    Raises:
        UserError: it joins data sets whose class names differ, so that a label has two meanings.
    """
    if isinstance(dataset, Listing):
        return dataset.class_names
    if isinstance(dataset, Subset):
        return listed_class_names(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        found = {names for part in dataset.datasets if (names := listed_class_names(part)) is not None}
        if len(found) > 1:
            raise UserError("the concatenated data sets have different class names, or list them in different orders")
        return next(iter(found), None)
    if _changes_labels(dataset):
        return None
    return _of_features(dataset) or _of_indices(dataset) or _of_list(dataset)


def _changes_labels(dataset: Any) -> bool:
    return getattr(dataset, "target_transform", None) is not None


def _listed(dataset: Any) -> Any:
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[1] if len(dataset.tensors) == 2 else None
    key = _label_feature(dataset)
    if key is not None and hasattr(dataset, "with_format"):
        kind = getattr(dataset, "format", {}).get("type")
        return None if kind == "custom" else dataset.with_format("numpy")[key][:]  # custom: a transform of samples
    return getattr(dataset, "targets", getattr(dataset, "labels", None))


def _label_feature(dataset: Any) -> str | None:
    """The label column of a data set of the library `datasets`."""
    features = getattr(dataset, "features", None)
    found = [key for key in LABEL_KEYS if key in features] if isinstance(features, Mapping) else []
    return found[0] if len(found) == 1 else None


def _of_features(dataset: Any) -> tuple[str, ...] | None:
    key = _label_feature(dataset)
    return None if key is None else _names(getattr(dataset.features[key], "names", None))


def _of_indices(dataset: Any) -> tuple[str, ...] | None:
    indices = getattr(dataset, "class_to_idx", None)
    if not isinstance(indices, Mapping) or sorted(map(str, indices.values())) != sorted(map(str, range(len(indices)))):
        return None  # ImageNet's has several names for a class
    return _names(sorted(indices, key=lambda name: int(indices[name])))


def _of_list(dataset: Any) -> tuple[str, ...] | None:
    return _names(getattr(dataset, "classes", None))


def _names(listed: Any) -> tuple[str, ...] | None:
    if isinstance(listed, Sequence) and not isinstance(listed, str) and listed:
        return tuple(str(name) for name in listed)
    return None
