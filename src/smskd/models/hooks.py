"""Any network as a feature model, whose features are read by forward hooks on its modules."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, FeatureModel
from smskd.models.feature_discovery import Found, Source, discover, logits_of


class HookedModel(FeatureModel):
    """A user's network as a feature model. Hooks are registered only while :meth:`extract` runs.

    The whole network is run, whichever features are read, and it cannot be continued from one of them. Of a module that
    is called several times in a forward pass, the last call counts. Of a feature that a later module changes in place
    (a ReLU after a batch norm), the changed values are read.

    Args:
        module: the network, which is not copied.
        found: where its features are read.
    """

    def __init__(self, module: nn.Module, found: Found) -> None:
        super().__init__()
        self.module = module
        self._found = found

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(self._found.features)

    @property
    def classifier(self) -> nn.Linear | None:
        name = self._found.classifier
        return None if name is None else cast(nn.Linear, self.module.get_submodule(name))

    @property
    def wrapped(self) -> nn.Module:
        return self.module

    @property
    def sources(self) -> Mapping[str, str]:
        """The name of the module at which each feature is read, by feature."""
        return {feature: source.module for feature, source in self._found.features.items()}

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, classes] of a batch [N, channels, height, width]."""
        return logits_of(self.module(x))

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        sources = {name: self._found.features[name] for name in names if name != LOGITS}
        read: dict[str, Tensor] = {}
        if not names:
            return read
        handles = [
            self.module.get_submodule(source.module).register_forward_hook(partial(_keep, read, name, source))
            for name, source in sources.items()
        ]
        try:
            logits = self.forward(x)
        finally:
            for handle in handles:
                handle.remove()
        if LOGITS in names:
            read[LOGITS] = logits
        return read


def adapt(module: nn.Module, example: Tensor, features: Mapping[str, str] | None = None) -> FeatureModel:
    """Makes the features of any classifier readable by name.

    Args:
        module: a network that maps images to logits [N, classes], or to an object with an attribute ``logits``. A
            feature model is returned as it is.
        example: images [N, channels, height, width], on which the network is run once in eval mode.
        features: feature names to names of the modules whose outputs they are. By default they are discovered:
            ``stem`` is the first map that a module outputs, ``stage1`` and so on are the last map of each resolution,
            ``pooled`` is the flattened input of the last ``nn.Linear`` (without one, the mean of the last map). A
            network without maps has ``pooled`` alone. It is discovered also where ``features`` does not name it.

    Returns:
        The feature model; it holds the module itself, not a copy.

    Raises:
        UserError: the network does not accept such images or returns no logits; it is a feature model already and
            ``features`` is given; ``features`` names a module that does not exist, is not called, or outputs neither a
            map nor a vector.
    """
    if isinstance(module, FeatureModel):
        if features:
            own = ", ".join(module.feature_names)
            raise UserError(f"features: this model already has features ({own}); leave the mapping out")
        return module
    return HookedModel(module, discover(module, example, features))


def _keep(
    read: dict[str, Tensor],
    name: str,
    source: Source,
    _module: nn.Module,
    inputs: tuple[Any, ...],
    output: Any,
) -> None:
    read[name] = source.read(inputs, output)
