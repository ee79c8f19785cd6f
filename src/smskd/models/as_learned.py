"""A trained network among images, tokens and classes other than those it learned from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, FeatureModel, Roles
from smskd.interfaces.inputs import Inputs
from smskd.models.dry_run import preserve_state
from smskd.models.metadata import facts, set_facts
from smskd.models.probe import close, full_precision, probe_inputs

_IMAGES = 2


class AsLearned(FeatureModel):
    """A network behind an affine map of its input channels, and with its logits in another order.

    The map gives the network images in the normalisation that it learned from, whatever the normalisation of the images
    here is. Its values, and the order, are buffers: hashes of the weights cover them.

    Args:
        model: the network, not copied.
        scale, shift: by channel, ``x * scale + shift`` is the network's input; None: it is ``x``.
        order: the place in the network's logits of each class; None: the classes are in the network's order.
        prefix: of the names of the tensors that are the network's, among those of a batch: ``teacher.``. Empty: the
            batch is the network's input.
    """

    scale: Tensor | None
    shift: Tensor | None
    order: Tensor | None

    def __init__(
        self,
        model: FeatureModel,
        scale: Sequence[float] | None = None,
        shift: Sequence[float] | None = None,
        order: Sequence[int] | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__()
        self.model = model
        self.prefix = prefix
        device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        for name, values in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, None if values is None else _by_channel(values).to(device))
        self.register_buffer("order", None if order is None else torch.tensor(list(order), device=device))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.model.feature_names

    @property
    def preactivation_names(self) -> frozenset[str]:
        return self.model.preactivation_names

    @property
    def classifier(self) -> nn.Linear | None:
        return self.model.classifier if self.order is None else None

    @property
    def family(self) -> str:
        return self.model.family

    @property
    def roles(self) -> Roles | None:
        roles = self.model.roles
        # Tokens of another tokenizer cannot be compared one by one.
        return roles if roles is None or not self.prefix else replace(roles, layers=())

    @property
    def sources(self) -> Mapping[str, str]:
        return self.model.sources

    def norm_before_relu(self, name: str) -> nn.BatchNorm2d | None:
        return self.model.norm_before_relu(name)

    def forward(self, x: Inputs) -> Tensor:
        """The logits [N, classes]."""
        return self._ordered(self.model(self._input(x)))

    def extract(self, x: Inputs, names: Collection[str]) -> dict[str, Tensor]:
        return self._ordered_logits(self.model.extract(self._input(x), names))

    def continue_from(self, name: str, feature: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        return self._ordered_logits(self.model.continue_from(name, feature, names))

    def extra_repr(self) -> str:
        return f"prefix={self.prefix!r}" if self.prefix else ""

    def _input(self, x: Inputs) -> Inputs:
        if not isinstance(x, Tensor):
            own = {name.removeprefix(self.prefix): value for name, value in x.items() if name.startswith(self.prefix)}
            return own if self.prefix else x
        return x if self.scale is None or self.shift is None else (x * self.scale + self.shift).to(x.dtype)

    def _ordered_logits(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._ordered(value) if name == LOGITS else value for name, value in found.items()}

    def _ordered(self, logits: Tensor) -> Tensor:
        return logits if self.order is None else logits.index_select(1, self.order)


def with_normalisation(
    model: FeatureModel,
    learned: tuple[Sequence[float], Sequence[float]],
    given: tuple[Sequence[float], Sequence[float]],
) -> FeatureModel:
    """The network for images that are normalised otherwise than those it learned from.

    Args:
        model: the network, not copied.
        learned: mean and standard deviation by channel of the images that it learned from, of values scaled to 0..1.
        given: of the images that it is given.
    """
    scale = [theirs / own for own, theirs in zip(learned[1], given[1], strict=True)]
    shift = [(centre - own) / spread for own, spread, centre in zip(learned[0], learned[1], given[0], strict=True)]
    return AsLearned(model, scale, shift)


def with_prefix(model: FeatureModel, prefix: str) -> FeatureModel:
    """The network for batches in which the names of its tensors begin with a prefix; itself where that is empty."""
    if not prefix:
        return model
    found = AsLearned(model, prefix=prefix)
    set_facts(found, facts(model))
    return found


def with_class_order(model: FeatureModel, order: Sequence[int], example: Inputs) -> FeatureModel:
    """The network with its logits in another order.

    The rows of its last linear layer are permuted in place where that does it, so that methods which take over the
    layer find it in this order; otherwise its logits are.

    Args:
        model: the network.
        order: the place in the network's logits of each class.
        example: images [N, channels, height, width], for their shape, or samples of several tensors by name.
    """
    layer = model.classifier
    if layer is None or not {"weight", "bias"} <= layer._parameters.keys():
        return AsLearned(model, order=order)
    with preserve_state(model), full_precision():
        images = probe_inputs(model, example, _IMAGES)
        before = model(images)
        _permute(layer, torch.tensor(list(order)))
        if close(model(images), before[:, list(order)]):
            return model
        _permute(layer, torch.argsort(torch.tensor(list(order))))
    return AsLearned(model, order=order)


def _permute(layer: nn.Linear, order: Tensor) -> None:
    for tensor in (layer.weight, layer.bias):
        if tensor is not None:
            tensor.copy_(tensor[order.to(tensor.device)])


def _by_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64).to(torch.float32)[:, None, None]
