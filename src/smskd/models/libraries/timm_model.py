"""A network of timm as a feature model, by timm's own ``forward_intermediates``."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal, cast

from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, FeatureModel, Roles
from smskd.interfaces.inputs import form_of
from smskd.models.as_trained import as_trained
from smskd.models.dry_run import preserve_state
from smskd.models.feature_discovery import LAST_MAP, POOLED, STEM
from smskd.models.image_errors import as_user_error
from smskd.models.last_layer import as_linear
from smskd.models.libraries.stages import block_names, stage_indices
from smskd.models.module_outputs import Source, logits_of
from smskd.models.probe import agree, probe_inputs

_IMAGES = 2
_CONVOLUTION_AND_NORM = 2
_PREFIX_OPTION = "return_prefix_tokens"


@dataclass(frozen=True)
class Intermediate:
    """One of the outputs of ``forward_intermediates``: its number, and the part that is read."""

    index: int
    part: Literal["map", "tokens", "prefix"] = "map"

    def read(self, output: Any) -> Tensor:
        """The feature: a map [N, C, H, W], the patches' tokens [N, L, C], or the tokens in front of them [N, P, C]."""
        grid, prefix = output if isinstance(output, tuple | list) else (output, None)
        if self.part == "prefix":
            return cast(Tensor, prefix)
        return cast(Tensor, grid.flatten(2).transpose(1, 2) if self.part == "tokens" else grid)


@dataclass(frozen=True)
class Plan:
    """How the features of a network of timm are read.

    Attributes:
        intermediates: features that ``forward_intermediates`` gives, in network order.
        modules: the module that timm names for each of them.
        last_map: the map in the output of ``forward_features``; None where it has none.
        roles: of the features.
        options: for ``forward_intermediates``.
        linear: whether the logits are those of a single linear layer, or 1x1 convolution, on the pooled vector.
    """

    intermediates: Mapping[str, Intermediate]
    modules: Mapping[str, str]
    last_map: Source | None
    roles: Roles
    options: Mapping[str, Any]
    linear: bool


class TimmModel(FeatureModel):
    """A network of timm. No block behind the deepest feature that is read is run where logits are not wanted.

    Args:
        module: the network, which is not copied.
        plan: how its features are read.
    """

    def __init__(self, module: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.module = module
        self._plan = plan

    @property
    def feature_names(self) -> tuple[str, ...]:
        last = (LAST_MAP,) if self._plan.last_map is not None else ()
        return (*self._plan.intermediates, *last, POOLED)

    @property
    def roles(self) -> Roles | None:
        return self._plan.roles

    @property
    def classifier(self) -> nn.Linear | None:
        return as_linear(cast(Any, self.module).get_classifier()) if self._plan.linear else None

    @property
    def wrapped(self) -> nn.Module:
        return self.module

    @property
    def sources(self) -> Mapping[str, str]:
        """timm's name of the module whose output each feature is, by feature."""
        last = {LAST_MAP: "forward_features"} if self._plan.last_map is not None else {}
        return {**self._plan.modules, **last, POOLED: "forward_head"}

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, classes] of a batch [N, channels, height, width]."""
        return _logits(self.module, self.module(x))

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        unknown = set(names) - {*self.feature_names, LOGITS}
        if unknown:
            raise KeyError(sorted(unknown)[0])
        if not names:
            return {}
        if set(names) == {LOGITS}:
            return {LOGITS: self.forward(x)}
        taps = {name: tap for name, tap in self._plan.intermediates.items() if name in names}
        indices = sorted({tap.index for tap in taps.values()})
        deeper = {LOGITS, POOLED, LAST_MAP}.intersection(names)
        final, outputs = self._run(x, indices, stop=not deeper)
        found = {name: tap.read(outputs[tap.index]) for name, tap in taps.items()}
        return found | (self._of_head(final, deeper) if final is not None else {})

    def _run(self, x: Tensor, indices: list[int], *, stop: bool) -> tuple[Tensor | None, dict[int, Any]]:
        module = cast(Any, self.module)
        if not indices:
            return module.forward_features(x), {}
        options = {**self._plan.options, **({"stop_early": True, "intermediates_only": True} if stop else {})}
        found = module.forward_intermediates(x, indices=indices, **options)
        final, outputs = (None, found) if stop else found
        return final, dict(zip(indices, outputs, strict=True))

    def _of_head(self, final: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        module = cast(Any, self.module)
        found: dict[str, Tensor] = {}
        if LAST_MAP in names and self._plan.last_map is not None:
            found[LAST_MAP] = self._plan.last_map.read((), final)
        if POOLED in names:
            found[POOLED] = module.forward_head(final, pre_logits=True).flatten(1)
        if LOGITS in names:
            layer = module.get_classifier() if self._plan.linear and POOLED in names else None
            if isinstance(layer, nn.Linear):
                found[LOGITS] = layer(found[POOLED])
            else:
                found[LOGITS] = _logits(module, module.forward_head(final))
        return found


def timm_model(module: nn.Module, example: Tensor) -> TimmModel | None:
    """The network as a feature model.

    Args:
        module: a network of timm.
        example: images [N, channels, height, width], for their shape.

    Returns:
        None if timm does not offer its intermediate features, or if what it offers does not give the network's logits.

    Raises:
        UserError: the network does not accept such images.
    """
    timm = cast(Any, module)
    images = probe_inputs(module, example, _IMAGES)
    with preserve_state(module), as_trained(module, lambda: timm(images)):
        with as_user_error(module, form_of(example)):
            expected = logits_of(timm(images))
        try:
            parameters = signature(timm.forward_intermediates).parameters
            options = {_PREFIX_OPTION: True} if _PREFIX_OPTION in parameters else {}
            final, outputs = timm.forward_intermediates(images, **options)
            pooled = timm.forward_head(final, pre_logits=True).flatten(1)
            same = agree(logits_of(timm.forward_head(final)), expected) and agree(timm.forward_features(images), final)
            entries = _entries(timm)
        except (AttributeError, TypeError, RuntimeError, ValueError, AssertionError):  # such as of several branches
            return None
        if not same or pooled.ndim != 2 or len(entries) != len(outputs):
            return None
        classifier = as_linear(timm.get_classifier())
        linear = classifier is not None and pooled.shape[1] == classifier.in_features
        linear = linear and agree(cast(nn.Module, classifier)(pooled), expected)
    return TimmModel(module, _plan(module, entries, outputs, final, pooled, options, linear))


def _plan(
    module: nn.Module,
    entries: list[dict[str, Any]],
    outputs: list[Any],
    final: Tensor,
    pooled: Tensor,
    options: Mapping[str, Any],
    linear: bool,
) -> Plan:
    has_stem = _is_stem(module, entries[0])
    offset = int(has_stem)
    resolutions = [entry["reduction"] for entry in entries[offset:]]
    names = block_names(resolutions)
    order = ([STEM] if has_stem else []) + names
    tokens = bool(options) or (final.ndim == 3 and len(set(resolutions)) == 1)
    taps: dict[str, Intermediate] = {}
    modules: dict[str, str] = {}
    for index, (name, entry) in enumerate(zip(order, entries, strict=True)):
        own = {name: Intermediate(index)}
        if tokens:
            own[f"{name}.tokens"] = Intermediate(index, "tokens")
        if isinstance(outputs[index], tuple | list) and outputs[index][1].shape[1]:
            own[f"{name}.prefix"] = Intermediate(index, "prefix")
        taps |= own
        modules |= dict.fromkeys(own, entry["module"])
    stages = [names[index] for index in stage_indices(resolutions)]
    maps = {name: taps[name].read(outputs[taps[name].index]) for name in order}
    last_name, last_source = _last_map(final, names[-1], maps[names[-1]], getattr(module, "output_fmt", "NCHW"))
    last = maps[last_name] if last_source is None else last_source.read((), final)
    # VGG: timm names the output of the last pooling too.
    stages = [name for name in stages if not isinstance(module.get_submodule(modules[name]), nn.MaxPool2d)]
    spatial = tuple(name for name in stages if maps[name].shape[2:].numel() > 1)
    roles = Roles(
        STEM if has_stem else None,
        spatial or tuple(stages),
        last_name,
        POOLED,
        last.shape[:2] == pooled.shape and agree(last.mean(dim=(2, 3)), pooled),
    )
    return Plan(taps, modules, last_source, roles, options, linear)


def _last_map(final: Tensor, name: str, deepest: Tensor, channels: str) -> tuple[str, Source | None]:
    """The name of the last map before the pooling, and where it is, if it is not that of the last block."""
    rows, columns = int(deepest.shape[2]), int(deepest.shape[3])
    if final.ndim == 3:
        prefix = int(final.shape[1]) - rows * columns
        if prefix < 0:
            return name, None
        source = Source("forward_features", arrangement="map_of_tokens", prefix=prefix, grid=(rows, columns))
    elif final.ndim == 4:
        turned = str(channels) == "NHWC" or str(channels).endswith("NHWC")
        source = Source("forward_features", arrangement="channels_last" if turned else "given")
    else:
        return name, None
    value = source.read((), final)
    same = value.shape == deepest.shape and agree(value, deepest)
    return (name, None) if same else (LAST_MAP, source)


def _entries(module: Any) -> list[dict[str, Any]]:
    """timm's description of each intermediate feature: its module and its reduction of the image."""
    info = module.feature_info
    return list(info if isinstance(info, list) else info.get_dicts())


def _is_stem(module: nn.Module, entry: Mapping[str, Any]) -> bool:
    """Whether the first intermediate feature comes before the first stage: that of a convolution with its norm."""
    name = str(entry["module"])
    weighted = sum(bool(part._parameters) for part in module.get_submodule(name).modules())
    return int(entry["reduction"]) > 1 and ("stem" in name or weighted <= _CONVOLUTION_AND_NORM)


def _logits(module: nn.Module, output: Any) -> Tensor:
    # A distilled network returns the logits of both of its heads in train mode where it is asked to.
    if module.training and isinstance(output, tuple):
        both: Tensor = (output[0] + output[1]) / 2
        return both
    return logits_of(output)
