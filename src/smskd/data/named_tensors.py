"""Data sets whose samples are tensors by name, such as tokenised ones: read once, and kept in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smskd.data.decode import label_index
from smskd.data.sample_pairs import IMAGE_KEYS, LABEL_KEYS
from smskd.data.seeded import seeded
from smskd.data.texts import INPUT_IDS, Field, Texts, field_of
from smskd.errors import UserError
from smskd.interfaces.inputs import ATTENTION_MASK

_SEED = 0x6E616D6564
_SEQUENCES = (INPUT_IDS, ATTENTION_MASK, "token_type_ids", "position_ids")
"""Names of tensors that are sequences even where all have the same length."""


def gives_named_tensors(dataset: Any) -> bool:
    """Whether the samples of a data set are tensors by name, with a label.

    Args:
        dataset: map-style; its first sample is read. Whatever it raises is left to whoever reads it next.
    """
    if isinstance(dataset, Texts):
        return True
    try:
        with seeded(_SEED):
            sample = dataset[0]
    except Exception:  # of the data set's own code
        return False
    if isinstance(sample, Mapping):
        return not any(key in sample for key in IMAGE_KEYS) and any(_is_numeric(value) for value in sample.values())
    return isinstance(sample, tuple | list) and len(sample) == 2 and isinstance(sample[0], Mapping)


def read_named_tensors(dataset: Any, class_names: tuple[str, ...], part: str) -> Texts:
    """All samples of a data set, in memory.

    A sample is a pair (tensors by name, label), or a mapping with one of the usual keys for the label: ``label``,
    ``labels``, ``fine_label``. Lists and arrays of numbers are tensors; whatever has no numbers is left out. Tensors
    whose first dimension differs between samples are sequences, which are filled up with zeros in a batch.

    Args:
        dataset: map-style data set, with ``__len__`` and ``__getitem__``; or texts, which are returned as they are.
        class_names: one name per class.
        part: its name, for messages.

    Raises:
        UserError: a sample is none of these, its label is no class, or its tensors are not those of the others.
    """
    if isinstance(dataset, Texts):
        return dataset
    columns: dict[str, list[Tensor]] = {}
    labels = []
    with seeded(_SEED):
        for row in range(len(dataset)):
            where = f"{part} sample {row}"
            try:
                tensors, label = _pair(dataset[row], where)
                labels.append(label_index(label, len(class_names)))
            except UserError as error:
                message = str(error)
                raise UserError(message if message.startswith(where) else f"{where}: {message}") from error
            except Exception as error:  # of the data set's own code
                raise UserError(f"{where}: the data set raised {type(error).__name__}: {error}") from error
            if row and tensors.keys() != columns.keys():
                raise UserError(f"{where} has {_listed(tensors)}, and sample 0 has {_listed(columns)}")
            for name, tensor in tensors.items():
                columns.setdefault(name, []).append(tensor)
    fields = {name: _field(name, values, part) for name, values in columns.items()}
    try:
        return Texts(fields, torch.tensor(labels, dtype=torch.int64), class_names)
    except UserError as error:
        raise UserError(f"{part} samples: {error}") from None


def _pair(sample: Any, where: str) -> tuple[dict[str, Tensor], Any]:
    if isinstance(sample, Mapping):
        keys = [key for key in LABEL_KEYS if key in sample]
        if len(keys) != 1:
            raise UserError(f"{where} has to have exactly one of {', '.join(LABEL_KEYS)}; it has {_listed(sample)}")
        named, label = {key: value for key, value in sample.items() if key != keys[0]}, sample[keys[0]]
    elif isinstance(sample, tuple | list) and len(sample) == 2 and isinstance(sample[0], Mapping):
        named, label = dict(sample[0]), sample[1]
    else:
        raise UserError(f"{where} is a {type(sample).__name__}; it has to be a pair (tensors by name, label)")
    tensors = {str(name): _tensor(value) for name, value in named.items() if _is_numeric(value)}
    if not tensors:
        raise UserError(f"{where} has no tensors; it has {_listed(named)}")
    return tensors, label


def _is_numeric(value: Any) -> bool:
    if isinstance(value, Tensor):
        return True
    if isinstance(value, list | tuple):
        return bool(value) and _is_numeric(value[0])
    return isinstance(value, int | float | np.ndarray | np.number) and not (
        isinstance(value, np.ndarray) and value.dtype.kind not in "biuf"
    )


def _tensor(value: Any) -> Tensor:
    tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    tensor = tensor.to(torch.float32) if tensor.dtype == torch.float64 else tensor
    return tensor[None] if tensor.ndim == 0 else tensor


def _field(name: str, values: list[Tensor], part: str) -> Field:
    first = values[0]
    for row, value in enumerate(values):
        if value.shape[1:] != first.shape[1:] or value.dtype != first.dtype:
            raise UserError(
                f"{part} sample {row}: {name} is {_described(value)}, and that of sample 0 is {_described(first)}"
            )
    varies = any(len(value) != len(first) for value in values)
    return field_of(values, 0 if varies or name in _SEQUENCES else None)


def _described(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _listed(named: Mapping[Any, Any]) -> str:
    return ", ".join(sorted(map(str, named))) or "nothing"
