"""Freezing a network: the only way to make a teacher or a reference."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from smskd.distributed.processes import Processes
from smskd.interfaces.features import LOGITS, FeatureModel
from smskd.interfaces.inputs import Inputs, dtype_of, mapped_inputs, tensors_of
from smskd.models.bn_folding import folded
from smskd.models.compiled_frozen import Extract, compiled_extract
from smskd.models.copying import copy_of
from smskd.models.frozen_checks import behaviour_of
from smskd.models.sharding import check_agrees, refused_in_a_line, spread, storage_of


class Frozen(nn.Module):
    """A network that is never trained: a teacher, or a reference.

    It stays in eval mode, whatever a parent's ``train()`` asks for, and its weights get no gradient. It runs in
    channels-last format and, where an example is given, with batch norms folded into convolutions. Neither the network
    nor its parameters are registered: a parent's ``parameters()`` and ``modules()`` do not reach them, while
    ``to()``, ``state_dict()`` and ``load_state_dict()`` do. The state dict is that of the unfolded network, without a
    prefix; after loading, batch norms are folded anew.

    Args:
        model: to freeze.
        example: images [N, channels, height, width], or samples of several tensors by name, for whose shape the
            network is examined, and to whose type its parameters are converted; None: nothing is converted or folded,
            and :attr:`sees_images_alone` is derived from the types of the layers alone.
        copy: whether the model is copied and left as it is (default). Otherwise it is taken over, and may be moved to
            the CPU; nothing else may hold it then.
    """

    def __init__(self, model: FeatureModel, example: Inputs | None = None, copy: bool = True) -> None:
        super().__init__()
        self.training = False
        self._example = example
        self.spreads = False
        """Whether the weights are spread over several processes, which then run the network at the same time."""
        self.compiles = False
        """Whether the features of whole batches are computed by a compiled program; those of others are not."""
        frozen = (copy_of(model) if copy else model).requires_grad_(False).eval()
        self._converted = None if example is None else _converted(frozen, dtype_of(example))
        self._prepare(frozen)

    def _prepare(self, model: FeatureModel, device: torch.device | None = None) -> None:
        """Makes the network that runs, on the device (None: where the model lies).

        It is the model itself where no other is needed.
        """
        behaviour = behaviour_of(model, self._example)
        folding = folded(model, self._example) if self._example is not None else None
        running = folding.model if folding is not None else None
        self.folds = running is not None
        """Whether batch norms were folded."""
        conversion = () if self._converted is None else (self._converted,)
        self.notes: tuple[str, ...] = conversion + (folding.notes if folding is not None else ())
        """Sentences on optimizations that this network does not allow, and that were left out."""
        self.sees_images_alone = behaviour.sees_images_alone
        """Whether the outputs for an image are the same in every batch. Otherwise they can be neither cached nor
        computed for several batches at once."""
        if running is None:
            running = copy_of(model) if behaviour.changes_buffers else model
        running.to(memory_format=torch.channels_last)
        if device is not None:
            running.to(device)
        if running is not model:
            model.cpu()
        # In a tuple: a parent that walks its modules to train or to unfreeze them does not come here.
        self._networks = (model, running)
        self._forget_programs()

    def spread(self, device: torch.device, processes: Processes) -> None:
        """Spreads the weights of the network that runs over the processes; the unfolded network stays on the CPU.

        From then on all processes run it at the same time.

        Args:
            device: of this process; the network is on the CPU.
            processes: that run it together.

        Raises:
            UserError: the network does not work in this way.
        """
        if self._running is self.model:
            self._networks = (self.model, copy_of(self.model))
        names = (*self.model.feature_names, LOGITS)
        example = self._example
        wanted = None if example is None else self.extract(example, names)
        with refused_in_a_line():
            spread(self._running, device, processes)
            self._forget_programs()
            if wanted is not None and example is not None:
                moved = mapped_inputs(example, lambda tensor: tensor.to(device))
                check_agrees(self.extract(moved, names), wanted)
        self.spreads = True

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes = (*self.notes, sentence)

    def _forget_programs(self) -> None:
        self._programs: dict[frozenset[str], Extract | None] = {}
        self._last: Extract | None = None
        self._whole: tuple[torch.Size, tuple[int, ...], torch.dtype] | None = None
        weights = (*self._running.parameters(), *self._running.buffers())
        self._weight_storages = frozenset(map(storage_of, weights))

    @property
    def model(self) -> FeatureModel:
        """The unfolded network, of which weights, classifier and norms are read.

        It lies on the CPU where another network runs in its place (:attr:`folds`, or buffers that change in eval mode),
        so that the weights lie on the device once; otherwise it is the network that runs.
        """
        return self._networks[0]

    @property
    def _running(self) -> FeatureModel:
        return self._networks[1]

    @property
    def compiled(self) -> bool:
        """Whether a compiled program computed the features of the last whole batch."""
        return self.compiles and self._last is not None

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a frozen network stays in eval mode."""
        self.training = False
        return self

    def extract(self, x: Inputs, names: Collection[str]) -> dict[str, Tensor]:
        """The named features of a batch, without gradient.

        Args:
            x: images [N, channels, height, width], or tensors by name.
            names: of features; ``logits`` and ``<name>.preact`` count as features.

        Returns:
            The features by name. None of them shares memory with ``x`` or with a weight.

        Raises:
            KeyError: a name is not one of the network's.
        """
        with torch.no_grad():
            features = self._computed(x, names)
            foreign = self._weight_storages.union(map(storage_of, tensors_of(x)))
            return {name: value.clone() if storage_of(value) in foreign else value for name, value in features.items()}

    def _computed(self, x: Inputs, names: Collection[str]) -> dict[str, Tensor]:
        if self.compiles and isinstance(x, Tensor):
            program = self._program(x, frozenset(names))
            if program is not None:
                return program(x)
        return self._running.extract(x, names)

    def continue_from(self, name: str, feature: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features that follow from a feature given in place of the network's own.

        Gradients flow to ``feature``; the weights get none. See :meth:`FeatureModel.continue_from`.

        Raises:
            NotImplementedError: the network cannot be entered in the middle.
            KeyError: a name is not one of the network's, or does not lie behind ``name``.
        """
        return self._running.continue_from(name, feature, names)

    def forward(self, x: Inputs) -> Tensor:
        """The logits [N, classes] of images [N, channels, height, width], or of tensors by name, without gradient."""
        return self.extract(x, (LOGITS,))[LOGITS]

    def _program(self, x: Tensor, names: frozenset[str]) -> Extract | None:
        """The compiled program for these features; the first batch determines the shape of whole batches."""
        x_format = (x.shape, x.stride(), x.dtype)
        if self._whole is None:
            self._whole = x_format
        if x_format != self._whole:
            return None
        if names not in self._programs:
            self._programs[names] = compiled_extract(self._running, x, names, self._note)
        self._last = self._programs[names]
        return self._last

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self._running._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.model is not self._running:
            self.model._apply(lambda tensor: fn(tensor).cpu(), recurse)  # type: ignore[no-untyped-call]
        self._forget_programs()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.model.state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Called by ``load_state_dict`` of this module or of a parent."""
        own = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
        device = next((weight.device for weight in self._running.parameters()), None)
        try:
            found = self.model.load_state_dict(own, strict=False)
        except RuntimeError as error:
            error_msgs.append(str(error))
            return
        missing_keys.extend(prefix + key for key in found.missing_keys)
        unexpected_keys.extend(prefix + key for key in found.unexpected_keys if strict)
        self._prepare(self.model, device)


def _converted(model: FeatureModel, dtype: torch.dtype) -> str | None:
    """Converts parameters of other floating-point types, and buffers of these types, in place.

    Returns:
        A sentence on it; None where there are none.
    """
    others = {weight.dtype for weight in model.parameters() if weight.is_floating_point()} - {dtype}
    if not others:
        return None
    model._apply(lambda tensor: tensor.to(dtype) if tensor.dtype in others else tensor)  # type: ignore[no-untyped-call]
    names = " and ".join(sorted(str(other).removeprefix("torch.") for other in others))
    return f"Its {names} weights are converted to {str(dtype).removeprefix('torch.')}, the type of the images."
