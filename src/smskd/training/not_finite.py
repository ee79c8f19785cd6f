"""Where NaN or Inf in training comes from: an image, the teacher, a loss, or the weights after an update."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from smskd.data.loaders.batching import BatchGroup
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.objective import Objective
from smskd.training.skipping import STATISTICS

_HUGE = 1e15
"""Images with larger values make statistics over a batch overflow."""

LARGE_LOSS = 1e6
"""A mean loss above it deserves a note: training has most likely diverged."""


def cause_in_inputs(
    groups: Iterable[BatchGroup], forward: Callable[[Batch], FrozenOutputs] | None = None
) -> str | None:
    """The first image of an epoch that is not finite, or the first output of a frozen network; None if all are finite.

    Args:
        groups: of the epoch in which a loss was not finite, from the loader once more.
        forward: gives the outputs of the frozen networks; None: only the images are looked at.
    """
    for group in groups:
        batch = group.batch
        cause = _in_sample(batch)
        if cause is not None:
            return cause
        if forward is None:
            continue
        try:
            outputs = forward(batch)
        except UserError as error:  # of a cache, which does not keep what is not finite
            return str(error)
        for network, taps in (("teacher", outputs.teacher), ("reference", outputs.reference)):
            for tap, values in taps.items():
                row = _first_row(values, math.inf)
                if row is not None:
                    noun = "image" if isinstance(batch.x, Tensor) else "input"
                    return (
                        f"the {network}'s {tap} for training sample {_sample(batch, row)} hold {_kind(values[row])}, "
                        f"though its {noun} is finite: try another network, or runtime.precision=fp32"
                    )
    return None


def _in_sample(batch: Batch) -> str | None:
    named = {"image": batch.x} if isinstance(batch.x, Tensor) else batch.x
    for name, values in named.items():
        row = _first_row(values, _HUGE) if values.is_floating_point() else None
        if row is not None:
            return (
                f"the {name} of training sample {_sample(batch, row)} holds {_kind(values[row])}: repair or remove it"
            )
    return None


def not_finite(losses: Mapping[str, float]) -> bool:
    """Whether any of the losses is NaN or infinite."""
    return not all(map(math.isfinite, losses.values()))


def check_finite(losses: Mapping[str, float], broken: Sequence[str], when: str) -> None:
    """Raises UserError, with the names of the parts, if a loss is not finite."""
    if not_finite(losses):
        raise UserError(
            f"the loss is no longer finite {when} ({', '.join(broken)}): "
            "lower optimizer.learning_rate or that method's weight"
        )


def broken_weight(objective: Objective) -> str | None:
    """The name of a trained parameter or batch-norm statistic that is not finite; None if all are finite.

    Waits once for the device.
    """
    found = [
        (f"{part} {name}", tensor.detach())
        for part, module in (("the student's", objective.predictor), ("the methods'", objective.term_states))
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        if tensor.requires_grad or name.endswith(STATISTICS)
    ]
    if not found:
        return None
    finite = torch.stack([tensor.isfinite().all() for _, tensor in found]).tolist()
    broken = [f"{name} holds {_kind(tensor)}" for (name, tensor), fine in zip(found, finite, strict=True) if not fine]
    return broken[0] if broken else None


def statistics(objective: Objective) -> list[Tensor]:
    """The running statistics of the batch norms that are trained."""
    modules = objective.predictor, objective.term_states
    return [tensor for own in modules for name, tensor in own.named_buffers() if name.endswith(STATISTICS)]


def _first_row(values: Tensor, largest: float) -> int | None:
    """The first row whose values are not all finite and at most ``largest``."""
    fine = (values.detach().flatten(1).abs() <= largest).all(dim=1) & values.detach().flatten(1).isfinite().all(dim=1)
    return None if bool(fine.all()) else int((~fine).nonzero()[0])


def _sample(batch: Batch, row: int) -> int:
    return row if batch.index is None else int(batch.index[row])


def _kind(values: Tensor) -> str:
    if bool(values.isnan().any()):
        return "NaN"
    return "Inf" if bool(values.isinf().any()) else f"values up to {float(values.abs().max()):.1g}"
