"""Weights on disk: safetensors, and foreign checkpoints of which nothing but plain data is unpickled."""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.runs.atomic_files import metadata_of, write_tensors

RUN_WEIGHTS = "student.safetensors"
"""The weights in the folder of a run."""

_CONTAINERS = ("model", "state_dict", "net")
_PARALLEL = "module."
_COUNTER = "num_batches_tracked"
_SHOWN = 3
_FOREIGN = re.compile(r"GLOBAL ([\w.]*\w)")


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Load weights into a model, all of them or none.

    Args:
        module: the model; of an adapted one, the wrapped module is meant.
        path: a ``.safetensors`` file, the folder of a run, or a checkpoint written by ``torch.save``
            (``.pth``, ``.pt``), which is read with ``weights_only=True``. The weights of a checkpoint stand
            at its top or under ``model``, ``state_dict`` or ``net``. The prefix ``module.`` of
            ``DataParallel`` is dropped. A batch norm's ``num_batches_tracked``, which old checkpoints lack,
            may be missing.

    Raises:
        UserError: there is no such file, it cannot be read, or its weights are not the model's: keys missing
            or too many, other shapes, integers for floating-point numbers.
    """
    target = _saved(module)
    file = _file(Path(path))
    current = target.state_dict()
    weights = _without_prefix(_read(file), current)
    _compare(weights, current, file)
    target.load_state_dict(weights, strict=False)


def check_classes(model: FeatureModel, path: str | Path) -> None:
    """Refuses weights whose classifier tells another number of classes apart than the model's.

    Args:
        model: the model. One without a last linear layer is not checked.
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
            f"weights: {file} tells {len(found)} classes apart and the data have {len(current[key])} "
            f"({key} is {list(found.shape)} in the file and {list(current[key].shape)} in the model)"
        )


def save_weights(module: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model's weights and buffers as safetensors; the file is there whole or not at all.

    Tensors that the model shares are written under each of their names.

    Args:
        module: the model; of an adapted one, the wrapped module is meant.
        path: the file; a file of that name is replaced.
        metadata: what else is to be known of them, text by text.
    """
    write_tensors(Path(path), _saved(module).state_dict(), metadata)


def read_metadata(path: str | Path) -> dict[str, str]:
    """What :func:`save_weights` was told of the weights.

    Args:
        path: a ``.safetensors`` file, or the folder of a run.

    Raises:
        UserError: there is no such file or it cannot be read.
    """
    file = _file(Path(path))
    try:
        with safe_open(file, framework="pt") as opened:
            return metadata_of(opened.metadata())
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, error) from error


def _saved(module: nn.Module) -> nn.Module:
    return module.wrapped if isinstance(module, FeatureModel) else module


def _file(path: Path) -> Path:
    file = path / RUN_WEIGHTS if path.is_dir() else path
    if not file.is_file():
        hint = f"the folder {path} holds no {RUN_WEIGHTS}" if path.is_dir() else f"there is no file {path}"
        raise UserError(f"weights: {hint}")
    return file


def _read(file: Path) -> Mapping[str, Tensor]:
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise _unreadable(file, error) from error
    return _weights_of(_read_checkpoint(file), file)


def _read_checkpoint(file: Path) -> object:
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no checkpoint raises whatever the unpickler stumbles over
        foreign = _FOREIGN.search(str(error))
        reason = f"it holds a {foreign[1]}" if foreign else "it is no checkpoint"
        raise UserError(f"weights: {file} cannot be read: {reason}; only weights and plain data are") from error


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(f"weights: {file} cannot be read: {reason}")


def _harmless_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What published checkpoints hold beside tensors: numpy scalars and command-line options."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    numbers = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [
        argparse.Namespace,
        np.dtype,
        *(type(np.dtype(number)) for number in numbers),
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),  # where it was before numpy 2
    ]


def _weights_of(checkpoint: object, file: Path) -> Mapping[str, Tensor]:
    candidates = [checkpoint]
    if isinstance(checkpoint, Mapping):
        candidates += [checkpoint[name] for name in _CONTAINERS if name in checkpoint]
    for candidate in candidates:
        if isinstance(candidate, Mapping) and candidate and all(map(torch.is_tensor, candidate.values())):
            return candidate
    places = ", ".join(_CONTAINERS)
    raise UserError(f"weights: {file} holds no weights, neither at its top nor under {places}")


def _without_prefix(weights: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Without the prefix of ``DataParallel``, unless the model itself calls its weights so."""
    ours, theirs = (all(key.startswith(_PARALLEL) for key in keys) for keys in (current, weights))
    if ours or not theirs:
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


def _some(things: list[str]) -> str:
    shown = ", ".join(things[:_SHOWN])
    return shown if len(things) <= _SHOWN else f"{shown}, ... ({len(things)} in all)"
