"""Weights on disk: safetensors, and checkpoints of other programs."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models.checkpoints import read_checkpoint
from smskd.models.metadata import Facts
from smskd.runs.tensor_files import read_tensors, write_tensors

RUN_WEIGHTS = "student.safetensors"
"""Name of the file of the student's weights in the folder of a run."""

EXPORTED_WEIGHTS = "model.safetensors"
"""Name of the file of weights in an exported folder, as timm and transformers have it."""

OWN_CONFIGURATION = "transformers/."
"""In the facts of an exported network of transformers: its configuration is in the folder of the weights."""

_PARALLEL = "module."
_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var")
_SHOWN = 3


@dataclass(frozen=True)
class SavedWeights:
    """The content of a file of weights.

    Attributes:
        file: that was read.
        tensors: by name.
        metadata: texts by key; empty where none were stored.
    """

    file: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def facts(self) -> Facts:
        """What the file knows of its network.

        Raises:
            UserError: a value is not what it has to be.
        """
        known = Facts.parse(self.metadata, f"weights: {self.file}")
        if known.model == OWN_CONFIGURATION:
            return replace(known, model=f"transformers/{self.file.parent.absolute()}")
        return known


def read_weights(path: str | Path) -> SavedWeights:
    """Reads a file of weights, once.

    Args:
        path: as for :func:`load_weights`.

    Raises:
        UserError: there is no such file, it cannot be read, or it is damaged.
    """
    file = _file(Path(path))
    try:
        if file.suffix == ".safetensors":
            return SavedWeights(file, *read_tensors(file))
        return SavedWeights(file, read_checkpoint(file), {})
    except UserError as error:
        raise UserError(f"weights: {error}") from error


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Loads weights into a model, all of them or none.

    Values are converted to the type of the model's parameters. The prefix ``module.`` of ``DataParallel`` is removed. A
    batch norm's ``num_batches_tracked``, which old checkpoints lack, may be missing.

    Args:
        module: the model; for an adapted one, the wrapped module.
        path: a ``.safetensors`` file, the folder of a run, an exported folder, or a checkpoint written by
            ``torch.save`` (``.pth``, ``.pt``), which is read with ``weights_only=True``. The state dict of a checkpoint
            is the checkpoint itself, or its entry ``model``, ``state_dict`` or ``net``.

    Raises:
        UserError: there is no such file, it cannot be read, or its weights do not fit the model: missing or unexpected
            keys, different shapes, integers instead of floating-point numbers.
    """
    put_weights(module, read_weights(path))


def put_weights(module: nn.Module, weights: SavedWeights) -> None:
    """Puts weights that have been read into a model, all of them or none; see :func:`load_weights`.

    Raises:
        UserError: they do not fit the model.
    """
    target = _saved(module)
    current = target.state_dict()
    check_fit(weights, current)
    target.load_state_dict(_without_prefix(weights.tensors, current), strict=False)


def check_fit(weights: SavedWeights, current: Mapping[str, Tensor]) -> None:
    """Refuses weights that are not those of a model with this state dict.

    Raises:
        UserError: missing or unexpected keys, different shapes, integers instead of floating-point numbers.
    """
    _compare(_without_prefix(weights.tensors, current), current, weights.file)


def check_classes(model: FeatureModel, path: str | Path) -> None:
    """Refuses weights whose classifier has another number of output classes than the model's.

    Args:
        model: the model. One without a final linear layer is not checked.
        path: as for :func:`load_weights`.

    Raises:
        UserError: the numbers differ, or the file cannot be read.
    """
    check_class_count(model, read_weights(path))


def check_class_count(model: FeatureModel, weights: SavedWeights) -> None:
    """:func:`check_classes` for weights that have been read."""
    names = [name for name, module in model.wrapped.named_modules() if _is_layer(module, model.classifier)]
    if not names:
        return
    key = f"{names[0]}.weight"
    current = model.wrapped.state_dict()
    found = _without_prefix(weights.tensors, current).get(key)
    if found is not None and found.dim() == current[key].dim() and len(found) != len(current[key]):
        raise UserError(
            f"weights: {weights.file} has {len(found)} output classes, the data {len(current[key])} "
            f"({key} is {list(found.shape)} in the file and {list(current[key].shape)} in the model)"
        )


def _is_layer(module: nn.Module, classifier: nn.Linear | None) -> bool:
    """Whether a module is the classifier, or a convolution of which the classifier is a linear form."""
    weight = getattr(module, "weight", None)
    if classifier is None or not isinstance(weight, Tensor):
        return False
    return module is classifier or (isinstance(module, nn.Conv2d) and weight.data_ptr() == classifier.weight.data_ptr())


def check_finite(model: nn.Module) -> None:
    """Refuses a network with weights, or statistics of batch norms, that are NaN or infinite.

    Raises:
        UserError: the first such tensor is named.
    """
    statistics = (pair for pair in model.named_buffers() if pair[0].endswith(_STATISTICS))
    for name, tensor in (*model.named_parameters(), *statistics):
        wrong = 0 if tensor.is_meta else int((~torch.isfinite(tensor.detach())).sum())
        if wrong:
            raise UserError(
                f"weights: {name} is not finite: {wrong} of its {math.prod(tensor.shape)} values are NaN or Inf"
            )


def save_weights(module: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a model's parameters and buffers as safetensors, atomically: the file is complete or absent.

    A tensor that the model shares is written under each of its names.

    Args:
        module: the model; for an adapted one, the wrapped module.
        path: the file; an existing file is replaced.
        metadata: texts by key, stored in the header of the file. Those of :meth:`Facts.as_metadata` are compared when
            the weights are used; without any the weights are taken as they are.
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
    return dict(read_weights(path).metadata)


def _saved(module: nn.Module) -> nn.Module:
    return module.wrapped if isinstance(module, FeatureModel) else module


def _file(path: Path) -> Path:
    folder = os.path.isdir(path)  # of a name that no file can have, these functions are false where Path's raise
    file = _in_folder(path) if folder else path
    if os.path.isfile(file):
        return file
    if os.path.exists(file):
        raise UserError(f"weights: {file} is not a file")
    raise UserError(
        f"weights: the folder {path} has no {RUN_WEIGHTS}" if folder else f"weights: there is no file {path}"
    )


def _in_folder(folder: Path) -> Path:
    exported = folder / EXPORTED_WEIGHTS
    return exported if not os.path.exists(folder / RUN_WEIGHTS) and os.path.isfile(exported) else folder / RUN_WEIGHTS


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
