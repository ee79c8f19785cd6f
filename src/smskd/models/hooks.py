"""Any network as a feature model, whose features are read by forward hooks on its modules."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, FeatureModel, Roles
from smskd.interfaces.inputs import Inputs
from smskd.models.calling import called
from smskd.models.feature_discovery import Found, discover
from smskd.models.last_layer import as_linear
from smskd.models.libraries.native import native
from smskd.models.module_outputs import Source, logits_of
from smskd.models.named_features import named
from smskd.models.sequence_features import sequence_features
from smskd.models.tracing import eager, trace


class HookedModel(FeatureModel):
    """A user's network as a feature model. Hooks are registered only while :meth:`extract` runs.

    The whole network is run, whichever features are read, and it cannot be continued from one of them. Of a feature
    that a later module changes in place (a ReLU after a batch norm), the changed values are read.

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
    def roles(self) -> Roles | None:
        return self._found.roles

    @property
    def classifier(self) -> nn.Linear | None:
        name = self._found.classifier
        return None if name is None else as_linear(self.module.get_submodule(name))

    @property
    def wrapped(self) -> nn.Module:
        return self.module

    @property
    def sources(self) -> Mapping[str, str]:
        """The name of the module at which each feature is read, by feature; ``relu:2`` is its second call."""
        return {feature: source.place for feature, source in self._found.features.items()}

    def forward(self, x: Inputs) -> Tensor:
        """The logits [N, classes] of a batch: images [N, channels, height, width], or tensors by name."""
        return self._logits(called(self.module, self.module, x))

    def extract(self, x: Inputs, names: Collection[str]) -> dict[str, Tensor]:
        sources = {name: self._found.features[name] for name in names if name != LOGITS}
        if not names:
            return {}
        reader = _Reader(sources)
        handles = [self.module.get_submodule(name).register_forward_hook(reader.hook(name)) for name in reader.modules]
        try:
            logits = self._logits(called(eager(self.module), self.module, x))
        finally:
            for handle in handles:
                handle.remove()
        missing = sources.keys() - reader.read.keys()
        if missing:
            name = sorted(missing)[0]
            raise UserError(
                f"feature {name!r}: the hook on {sources[name].place!r} was not called in this forward pass; give the "
                "network uncompiled, or name another module"
            )
        return reader.read | ({LOGITS: logits} if LOGITS in names else {})

    def _logits(self, output: Any) -> Tensor:
        # In train mode some networks return auxiliary logits too, behind their own.
        if self.module.training and isinstance(output, tuple) and isinstance(output[0], Tensor):
            return output[0]
        return logits_of(output)


class _Reader:
    """Reads features from the calls of modules in one forward pass."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.read: dict[str, Tensor] = {}
        self.modules: dict[str, list[tuple[str, Source]]] = defaultdict(list)
        self._calls: Counter[str] = Counter()
        for feature, source in sources.items():
            self.modules[source.module].append((feature, source))

    def hook(self, module: str) -> Any:
        def read(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._calls[module] += 1
            for feature, source in self.modules[module]:
                if source.call == self._calls[module]:
                    self.read[feature] = source.read(inputs, output)

        return read


def adapt(module: nn.Module, example: Inputs, features: Mapping[str, str] | None = None) -> FeatureModel:
    """Makes the features of any classifier readable by name.

    Args:
        module: a network that maps images to logits [N, classes], or to an object with an attribute ``logits``. A
            feature model is returned as it is. Networks of timm, torchvision and transformers are recognised by their
            type, and their features are those that the library names. A network that ``torch.compile`` has wrapped is
            unwrapped.
        example: images [N, channels, height, width], or samples of several tensors by name, for whose shape the
            features are found; the network is run in eval mode.
        features: feature names to places of their outputs: ``module``, ``module:2`` for its second call in a forward
            pass, ``module[1:]`` for an output [N, tokens, C] without its first token. By default they are those of the
            library, or discovered: ``stem`` is the first map that a module outputs, ``stage1`` and so on are the last
            map of each resolution, ``pooled`` is the flattened input of the last ``nn.Linear`` (without one, the mean
            of the last map). A network without maps has ``pooled`` alone. It is discovered also where ``features`` does
            not name it.

    Returns:
        The feature model; it holds the module itself, not a copy.

    Raises:
        UserError: the network does not accept such images or returns no logits; it is a feature model already and
            ``features`` is given; ``features`` names a module that does not exist, is not called, or outputs neither a
            map nor tokens nor a vector.
    """
    module = getattr(module, "_orig_mod", module)  # of torch.compile, whose program does not call the hooks
    if isinstance(module, FeatureModel):
        if features:
            own = ", ".join(module.feature_names)
            raise UserError(f"features: this model already has features ({own}); leave the mapping out")
        return module
    if features:
        return HookedModel(module, named(module, trace(module, example), features))
    if not isinstance(example, Tensor):
        return HookedModel(module, sequence_features(module, example))
    known = native(module, example)
    if isinstance(known, FeatureModel):
        return known
    return HookedModel(module, known or discover(trace(module, example)))
