"""Weights on disk: safetensors, and checkpoints of other programs, read without executing code in them."""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.runs.tensor_files import read_tensors, write_tensors

RUN_WEIGHTS = "student.safetensors"
"""Name of the file of the student's weights in the folder of a run."""

_CONTAINERS = ("model", "state_dict", "net")
_PARALLEL = "module."
_COUNTER = "num_batches_tracked"
_SHOWN = 3
_FOREIGN = re.compile(r"GLOBAL ([\w.]*\w)")


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Loads weights into a model, all of them or none.

    Values are converted to the type of the model's parameters. The prefix ``module.`` of ``DataParallel`` is removed. A
    batch norm's ``num_batches_tracked``, which old checkpoints lack, may be missing.

    Args:
        module: the model; for an adapted one, the wrapped module.
        path: a ``.safetensors`` file, the folder of a run, or a checkpoint written by ``torch.save`` (``.pth``,
            ``.pt``), which is read with ``weights_only=True``. The state dict of a checkpoint is the checkpoint itself,
            or its entry ``model``, ``state_dict`` or ``net``.

    Raises:
        UserError: there is no such file, it cannot be read, or its weights do not fit the model: missing or unexpected
            keys, different shapes, integers instead of floating-point numbers.
    """
    target = _saved(module)
    file = _file(Path(path))
    current = target.state_dict()
    weights = _without_prefix(_read(file), current)
    _compare(weights, current, file)
    target.load_state_dict(weights, strict=False)


def check_classes(model: FeatureModel, path: str | Path) -> None:
    """Refuses weights whose classifier has another number of output classes than the model's.

    Args:
        model: the model. One without a final linear layer is not checked.
        path: as for :func:`load_weights`.

    Raises:
        UserError: the numbers differ, or the file cannot be read.
    """
    names = [name for name, module in model.wrapped.named_modules() if module is model.classifier]
    if not names:
        return
    file, key = _file(Path(path)), f"{names[0]}.weight"
    current = model.wrapped.state_dict()
    found = _without_prefix(_read(file), current).get(key)
    if found is not None and found.dim() == 2 and len(found) != len(current[key]):
        raise UserError(
            f"weights: {file} has {len(found)} output classes, the data {len(current[key])} "
            f"({key} is {list(found.shape)} in the file and {list(current[key].shape)} in the model)"
        )


def save_weights(module: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a model's parameters and buffers as safetensors, atomically: the file is complete or absent.

    A tensor that the model shares is written under each of its names.

    Args:
        module: the model; for an adapted one, the wrapped module.
        path: the file; an existing file is replaced.
        metadata: texts by key, stored in the header of the file.
    """
    write_tensors(Path(path), _saved(module).state_dict(), metadata)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata that :func:`save_weights` stored with the weights.

    Args:
        path: a ``.safetensors`` file, or the folder of a run.

    Returns:
        Texts by key; empty where none were stored.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    file = _file(Path(path))
    return _read_tensors(file)[1]


def _saved(module: nn.Module) -> nn.Module:
    return module.wrapped if isinstance(module, FeatureModel) else module


def _file(path: Path) -> Path:
    file = path / RUN_WEIGHTS if path.is_dir() else path
    if not file.is_file():
        hint = f"the folder {path} has no {RUN_WEIGHTS}" if path.is_dir() else f"there is no file {path}"
        raise UserError(f"weights: {hint}")
    return file


def _read(file: Path) -> Mapping[str, Tensor]:
    if file.suffix == ".safetensors":
        return _read_tensors(file)[0]
    return _weights_of(_read_checkpoint(file), file)


def _read_checkpoint(file: Path) -> object:
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on a file that is not a checkpoint the unpickler raises errors of any type
        foreign = _FOREIGN.search(str(error))
        reason = f"it contains a {foreign[1]}" if foreign else "it is not a checkpoint"
        raise UserError(f"weights: {file} cannot be read: {reason}; only tensors and plain data are read") from error


def _read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        return read_tensors(file)
    except UserError as error:
        raise UserError(f"weights: {error}") from error


def _harmless_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Types in published checkpoints beside tensors: numpy scalars and command-line options."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    numbers = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [
        argparse.Namespace,
        np.dtype,
        *(type(np.dtype(number)) for number in numbers),
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),  # its place before numpy 2
    ]


def _weights_of(checkpoint: object, file: Path) -> Mapping[str, Tensor]:
    candidates = [checkpoint]
    if isinstance(checkpoint, Mapping):
        candidates += [checkpoint[name] for name in _CONTAINERS if name in checkpoint]
    for candidate in candidates:
        if isinstance(candidate, Mapping) and candidate and all(map(torch.is_tensor, candidate.values())):
            return candidate
    places = ", ".join(_CONTAINERS)
    raise UserError(f"weights: {file} contains no state dict, neither at its top level nor under {places}")


def _without_prefix(weights: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights without the prefix of ``DataParallel``, unless the model's own names have it."""
    in_model, in_file = (all(key.startswith(_PARALLEL) for key in keys) for keys in (current, weights))
    if in_model or not in_file:
        return weights
    return {key.removeprefix(_PARALLEL): tensor for key, tensor in weights.items()}


def _compare(weights: Mapping[str, Tensor], current: Mapping[str, Tensor], file: Path) -> None:
    missing = [key for key in current if key not in weights and not key.endswith(_COUNTER)]
    unexpected = [key for key in weights if key not in current]
    shared = [key for key in current if key in weights]
    shapes = [
        f"{key} is {list(weights[key].shape)} in the file and {list(current[key].shape)} in the model"
        for key in shared
        if weights[key].shape != current[key].shape
    ]
    types = [
        f"{key} is {_type(weights[key])} in the file and {_type(current[key])} in the model"
        for key in shared
        if weights[key].is_floating_point() != current[key].is_floating_point()
    ]
    faults = [
        *([f"missing {_some(missing)}"] if missing else []),
        *([f"unexpected {_some(unexpected)}"] if unexpected else []),
        *([_some(shapes)] if shapes else []),
        *([_some(types)] if types else []),
    ]
    if faults:
        raise UserError(f"weights: {file} does not fit the model: {'; '.join(faults)}")


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _some(items: list[str]) -> str:
    shown = ", ".join(items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown}, ... ({len(items)} in all)"
