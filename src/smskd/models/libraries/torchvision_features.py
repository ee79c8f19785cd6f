"""Where the features of torchvision's networks are read: the modules that end their stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from smskd.models.feature_discovery import LAST_MAP, STEM, Found, last_of_each_resolution, with_head
from smskd.models.libraries.stages import stage_indices
from smskd.models.map_outputs import map_calls, source_of
from smskd.models.module_outputs import Arrangement, Source
from smskd.models.tracing import Call, Trace, grid_of, trace


@dataclass(frozen=True)
class _Modules:
    """The names of the modules that put out the stem and the stages, and whether their channels come last."""

    stages: tuple[str, ...]
    stem: str | None = None
    channels_last: bool = False


_KNOWN: Mapping[str, _Modules] = {
    "ResNet": _Modules(("layer1", "layer2", "layer3", "layer4"), "relu"),
    "ConvNeXt": _Modules(("features.1", "features.3", "features.5", "features.7"), "features.0"),
    "SwinTransformer": _Modules(("features.1", "features.3", "features.5", "features.7"), "features.0", True),
    "MaxVit": _Modules(("blocks.0", "blocks.1", "blocks.2", "blocks.3"), "stem"),
    "RegNet": _Modules(
        ("trunk_output.block1", "trunk_output.block2", "trunk_output.block3", "trunk_output.block4"), "stem"
    ),
    "ShuffleNetV2": _Modules(("stage2", "stage3", "stage4"), "conv1"),
    "DenseNet": _Modules(
        ("features.denseblock1", "features.denseblock2", "features.denseblock3", "features"), "features.relu0"
    ),
    "Inception3": _Modules(("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"), "Conv2d_2b_3x3"),
    "GoogLeNet": _Modules(("conv3", "inception3b", "inception4e", "inception5b"), "conv1"),
}
"""Networks whose stages do not end with the last outermost module of a resolution, by the name of their class."""

_TRUNKS: Mapping[str, tuple[str, int]] = {
    "MobileNetV2": ("features", 1),
    "MobileNetV3": ("features", 1),
    "EfficientNet": ("features", 1),
    "MNASNet": ("layers", 3),
}
"""The container of the blocks, and how many modules at its end widen the channels before the pooling."""

_CONVOLUTIONS_OF_A_STEM = 1


def torchvision_features(module: nn.Module, example: Tensor) -> Found | None:
    """Where the features are read.

    Args:
        module: a classifier of torchvision.
        example: images [N, channels, height, width], for their shape.

    Returns:
        None for a network without maps and tokens that torchvision is known for.

    Raises:
        UserError: the network does not accept such images.
    """
    kinds = {base.__name__ for base in type(module).__mro__ if base.__module__.startswith("torchvision.models.")}
    if not kinds:
        return None
    traced = trace(module, example)
    if "VisionTransformer" in kinds:
        return _vision_transformer(module, traced)
    known = next((modules for kind, modules in _KNOWN.items() if kind in kinds), None)
    if known is not None:
        return _of_modules(known, traced)
    trunk = next((trunk for kind, trunk in _TRUNKS.items() if kind in kinds), None)
    return _by_resolution(traced) if trunk is None else _of_trunk(module, traced, *trunk)


def _of_modules(known: _Modules, traced: Trace) -> Found | None:
    calls = {call.name: call for call in traced.calls if call.number == 1}
    if any(name not in calls for name in (*known.stages, *([known.stem] if known.stem else []))):
        return None  # changed by the user
    kind: Arrangement = "channels_last" if known.channels_last else "given"
    sources = {f"stage{number}": Source(name, arrangement=kind) for number, name in enumerate(known.stages, start=1)}
    stem = {STEM: Source(known.stem, arrangement=kind)} if known.stem else {}
    return with_head(traced, stem | sources, STEM if stem else None, tuple(sources))


def _of_trunk(module: nn.Module, traced: Trace, container: str, widening: int) -> Found | None:
    """The blocks of a container as stages, and its output as the last map."""
    names = [f"{container}.{name}" for name, _ in module.get_submodule(container).named_children()]
    calls = {call.name: call for call in traced.calls}
    if any(name not in calls for name in (container, *names)):
        return None  # changed by the user
    stem, stages = _stem_and_stages([calls[name] for name in names[:-widening]], traced)
    features = _named(stem, stages, traced) | {LAST_MAP: source_of(calls[container], traced)}
    return with_head(traced, features, STEM if stem else None, list(_named(None, stages, traced)), LAST_MAP)


def _by_resolution(traced: Trace) -> Found:
    """The last map of each resolution in front of a pooling."""
    pooled = {id(call.output) for call in traced.calls if isinstance(call.module, nn.MaxPool2d)}
    stem, stages = _stem_and_stages([call for call in map_calls(traced) if id(call.output) not in pooled], traced)
    return with_head(traced, _named(stem, stages, traced), STEM if stem else None, list(_named(None, stages, traced)))


def _stem_and_stages(calls: list[Call], traced: Trace) -> tuple[Call | None, list[Call]]:
    """The last map of each resolution; the first of them is the stem where it is that of a single convolution."""
    stages = last_of_each_resolution(calls, traced)
    stem = stages.pop(0) if len(stages) > 1 and _is_stem(stages[0], traced) else None
    return stem, stages


def _named(stem: Call | None, stages: list[Call], traced: Trace) -> dict[str, Source]:
    first = {STEM: source_of(stem, traced)} if stem is not None else {}
    return first | {f"stage{number}": source_of(call, traced) for number, call in enumerate(stages, start=1)}


def _is_stem(call: Call, traced: Trace) -> bool:
    """Whether the image has been made smaller, by no more than one convolution."""
    before = traced.calls[: traced.calls.index(call) + 1]
    convolutions = sum(isinstance(other.module, nn.Conv2d) for other in before)
    return convolutions <= _CONVOLUTIONS_OF_A_STEM and call.output.shape[2] < traced.image_size[0]


def _vision_transformer(module: nn.Module, traced: Trace) -> Found | None:
    """The blocks as maps and tokens; the class token stands in front."""
    blocks = [f"encoder.layers.{name}" for name, _ in cast(Any, module).encoder.layers.named_children()]
    return token_features(traced, [(name, 1) for name in blocks], ("encoder.ln", 1), prefix=1)


def token_features(
    traced: Trace, blocks: list[tuple[str, int]], final: tuple[str, int] | None, prefix: int
) -> Found | None:
    """The features of a network whose blocks map tokens to tokens of one resolution.

    Args:
        traced: a forward pass of the network.
        blocks: module and number of its call.
        final: of the last norm over all tokens, if there is one.
        prefix: number of tokens in front of those of the patches.

    Returns:
        None where the tokens of the patches are no grid.
    """
    calls = {(call.name, call.number): call for call in traced.calls}
    if not blocks or any(block not in calls for block in blocks):
        return None
    grid = grid_of(int(calls[blocks[-1]].output.shape[1]) - prefix, traced.image_size)
    if grid is None:
        return None

    def source(place: tuple[str, int], arrangement: Any) -> Source:
        return Source(place[0], call=place[1], arrangement=arrangement, prefix=prefix, grid=grid)

    features: dict[str, Source] = {}
    for number, block in enumerate(blocks, start=1):
        features[f"block{number}"] = source(block, "map_of_tokens")
        features[f"block{number}.tokens"] = source(block, "patch_tokens")
        if prefix:
            features[f"block{number}.prefix"] = source(block, "prefix_tokens")
    last = None
    if final is not None and final in calls:
        last = "last_map"
        features[last] = source(final, "map_of_tokens")
    stages = [f"block{index + 1}" for index in stage_indices([0] * len(blocks))]
    return with_head(traced, features, None, stages, last or f"block{len(blocks)}")
