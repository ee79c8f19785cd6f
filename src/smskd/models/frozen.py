"""Freezing a model: the only way to make a teacher or a reference."""

import copy
from collections.abc import Callable, Collection
from typing import Any, Self

import torch
from torch import Tensor, nn

from smskd.interfaces.features import FeatureModel
from smskd.models.bn_folding import folded
from smskd.models.compiled import Extract, compiled_extract


class Frozen(nn.Module):
    """A copy of a model that nothing moves.

    It has its own weights, stays in eval mode whatever a parent's ``train()`` says, gives outputs without
    gradient, and its buffers (batch-norm statistics) never change. What runs is a second copy, in channels-last
    format and, where an example is given, with batch norms folded into convolutions.

    Args:
        model: what to copy; it is left as it is.
        example: pictures [N, channels, height, width] on which folding is checked; None: nothing is folded.
    """

    def __init__(self, model: FeatureModel, example: Tensor | None = None) -> None:
        super().__init__()
        self.model: FeatureModel = copy.deepcopy(model)
        self.model.requires_grad_(False)
        self.eval()
        self.model.eval()
        self._example = example
        self.compiles = False
        """Whether the features of whole batches are computed by a compiled program; those of others are not."""
        self._copy_to_run()
        self.register_load_state_dict_post_hook(_run_what_was_loaded)  # type: ignore[no-untyped-call]

    def _copy_to_run(self) -> None:
        fast = folded(self.model, self._example) if self._example is not None else None
        self.folds = fast is not None
        runs = fast if fast is not None else copy.deepcopy(self.model)
        # In a tuple: a parent that walks its modules to train or to unfreeze them does not come here.
        self._runs = (runs.to(memory_format=torch.channels_last),)
        self._programs: dict[frozenset[str], Extract | None] = {}
        self._last: Extract | None = None
        self._whole: tuple[torch.Size, tuple[int, ...]] | None = None

    @property
    def compiled(self) -> bool:
        """Whether a compiled program computed the features of the last whole batch."""
        return self.compiles and self._last is not None

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, whatever is asked for."""
        self.training = False
        return self

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features of a batch, without gradient; see :meth:`FeatureModel.extract`."""
        program = self._program(x, frozenset(names)) if self.compiles else None
        with torch.inference_mode():
            tensors = program(x) if program is not None else self._runs[0].extract(x, names)
        # Autograd refuses to save an inference tensor; a copy is an ordinary one.
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def forward(self, x: Tensor) -> Tensor:
        """The logits, without gradient."""
        return self.extract(x, ("logits",))["logits"]

    def _program(self, x: Tensor, names: frozenset[str]) -> Extract | None:
        """What was compiled for these features; the first batch says which shape those to come have."""
        x_format = (x.shape, x.stride())
        if self._whole is None:
            self._whole = x_format
        if x_format != self._whole:
            return None
        if names not in self._programs:
            self._programs[names] = compiled_extract(self._runs[0], x, names)
        self._last = self._programs[names]
        return self._last

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        for module in self._runs:
            module._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._programs.clear()
        self._last = None
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


def _run_what_was_loaded(module: nn.Module, _: object) -> None:
    assert isinstance(module, Frozen)
    module._copy_to_run()
