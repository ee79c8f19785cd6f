"""Steps whose loss or gradients are not finite are not taken, where the settings say so."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smskd.distributed.processes import ALONE, Processes
from smskd.errors import UserError

LONGEST = 25
"""So many steps in a row may be skipped."""

STATISTICS = ("running_mean", "running_var")
"""Buffers that a step may leave non-finite although loss and gradients are finite: a batch norm hides huge values."""


class SkippingUpdate:
    """Updates the weights, unless loss, gradients or batch-norm statistics hold NaN or Inf: then everything stays as it
    was before the step. The device decides; the host does not wait for it, except on devices without fused optimizers.

    Args:
        module: whose buffers a forward pass changes.
        optimizer: of the trained parameters.
        scaler: of float16 gradients, which skips updates of its own where a scaled gradient overflows.
        processes: that update their weights together, or not at all.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        processes: Processes = ALONE,
    ) -> None:
        self._module = module
        self._optimizer = optimizer
        self._scaler = scaler
        self._processes = processes
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._fused = all(group.get("fused") for group in optimizer.param_groups)
        self._before: dict[str, Tensor] = {}

    def begin(self) -> None:
        """Before the forward pass."""
        self._before = {name: buffer.clone() for name, buffer in self._module.named_buffers()}

    @torch.no_grad()
    def step(self, total: Tensor) -> Tensor:
        """After the backward pass.

        Args:
            total: the loss, not scaled.

        Returns:
            Whether the step was skipped, a bool scalar on the device.
        """
        bad = ~total.isfinite()
        # Of scaled gradients Inf is usual: the scaler skips those updates and lowers the scale.
        if not self._scaler.is_enabled():
            bad = bad | ~_finite([weight.grad for weight in self._parameters if weight.grad is not None], total)
        buffers = {name: buffer for name, buffer in self._module.named_buffers() if name in self._before}
        bad = bad | ~_finite([buffer for name, buffer in buffers.items() if name.endswith(STATISTICS)], total)
        bad = self._processes.most(bad.to(torch.uint8)).bool()
        self._update(bad)
        for name, buffer in buffers.items():
            buffer.copy_(torch.where(bad, self._before[name], buffer))
        self._before = {}
        return bad

    def _update(self, bad: Tensor) -> None:
        if self._scaler.is_enabled():
            # NaN in the gradients makes the scaler skip. They are finite where only a statistic is not.
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad = torch.where(bad, torch.nan, parameter.grad)
            self._scaler.step(self._optimizer)
        elif self._fused:
            # The way in which a GradScaler lets a fused optimizer skip an update.
            self._optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            try:
                self._optimizer.step()
            finally:
                del self._optimizer.found_inf  # type: ignore[attr-defined]
        elif not bool(bad):
            self._optimizer.step()


def _finite(tensors: list[Tensor], like: Tensor) -> Tensor:
    """Whether all values are finite, a bool scalar on the device."""
    if not tensors:
        return torch.ones_like(like, dtype=torch.bool)
    return torch.stack([tensor.isfinite().all() for tensor in tensors]).all()


@dataclass(frozen=True)
class Skipped:
    """The steps of an epoch that were skipped.

    Attributes:
        steps, samples: numbers of them. longest: steps in a row.
    """

    steps: int = 0
    samples: int = 0
    longest: int = 0

    def check(self, samples: int, when: str) -> None:
        """Raises UserError if too many steps were skipped.

        Args:
            samples: of the epoch.
            when: for the message.
        """
        if self.longest >= LONGEST or (self.steps and self.samples == samples):
            raise UserError(
                f"{self.longest} training steps in a row were skipped {when}, because their loss or gradients were not "
                "finite: lower optimizer.learning_rate, or look for the cause with runtime.on_nan=stop"
            )


class SkipCounts:
    """Counts skipped steps on the device, so that nothing waits for it before the epoch's end.

    Args:
        device: of training.
    """

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(4, dtype=torch.int64, device=device)
        """Steps, samples, steps in a row up to now, most steps in a row."""

    def add(self, skipped: Tensor, samples: int) -> None:
        """Counts a step.

        Args:
            skipped: bool scalar.
            samples: of the step.
        """
        steps, skipped_samples, row, longest = self._counts.unbind()
        now = (row + 1) * skipped
        self._counts.copy_(
            torch.stack([steps + skipped, skipped_samples + samples * skipped, now, torch.maximum(longest, now)])
        )

    def add_others(self, processes: Processes) -> None:
        """Adds the samples that the other processes counted in the same steps."""
        processes.add(self._counts[1:2])

    def read(self) -> Skipped:
        """The counts; waits for the device."""
        steps, samples, _, longest = self._counts.tolist()
        return Skipped(steps, samples, longest)
