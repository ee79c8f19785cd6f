"""Discovers the features of an arbitrary network from the outputs of its modules in one forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smskd.interfaces.features import Roles
from smskd.models.classifier_head import averaged_map, head_of, is_mean, value_of
from smskd.models.map_outputs import goes_on_with_tokens, map_calls, map_size, source_of
from smskd.models.module_outputs import Source
from smskd.models.tracing import Call, Trace, equal

STEM, LAST_MAP, POOLED = "stem", "last_map", "pooled"


@dataclass(frozen=True)
class Found:
    """The features of a network.

    Attributes:
        features: the features by name, in network order.
        roles: of the features.
        classifier: the name of the linear layer whose output is the logits; None where there is none.
    """

    features: Mapping[str, Source]
    roles: Roles
    classifier: str | None


def discover(traced: Trace) -> Found:
    """The features of a network of which nothing is known: ``stem``, ``stage1`` and so on, ``pooled``.

    A network that goes on with tokens after its last map has ``pooled`` alone: which of its tokens belong to patches of
    the image is not known.

    Args:
        traced: a forward pass of it.

    Raises:
        UserError: the network returns no logits.
    """
    head = head_of(traced)
    maps = [call for call in map_calls(traced) if head is None or call.output is not head.output]
    if goes_on_with_tokens(traced):
        maps = []
    stages = last_of_each_resolution(maps, traced)
    if len(stages) > 1:
        stages = [call for call in stages if call is not maps[0]]
    sources = {f"stage{number}": source_of(call, traced) for number, call in enumerate(stages, start=1)}
    stem = {STEM: source_of(maps[0], traced)} if maps else {}
    return with_head(traced, stem | sources, STEM if maps else None, tuple(sources))


def last_of_each_resolution(maps: Sequence[Call], traced: Trace) -> list[Call]:
    """The last map of each resolution, where each is larger than the next.

    At each resolution the outermost modules count: the strided convolution within a block is called last, but the stage
    ends with the block before. Maps smaller than a later one (inside squeeze-and-excitation) are left out.
    """
    last: dict[tuple[int, int], Call] = {}
    for call in maps:
        size = map_size(call, traced)
        if size in last and call.depth > last[size].depth:
            continue
        last.pop(size, None)
        last[size] = call
    stages: list[Call] = []
    largest = 0
    for (height, width), call in reversed(last.items()):
        if height * width > largest:
            largest = height * width
            stages.insert(0, call)
    return stages


def with_head(
    traced: Trace, known: Mapping[str, Source], stem: str | None, stages: Sequence[str], last_map: str | None = None
) -> Found:
    """The features that are known, with the last map before the pooling and the pooled vector.

    Args:
        traced: a forward pass of the network.
        known: features in network order.
        stem: the name of the first map, if there is one.
        stages: the names of the maps of the stages.
        last_map: the name of the last map before the pooling; by default the map whose mean the pooled vector is, or
            that of the last stage.
    """
    features = dict(known)
    head = head_of(traced)
    pooled = features.get(POOLED) or (head.pooled if head else None)
    averaged = averaged_map(value_of(pooled, traced), traced) if pooled and stages and last_map is None else None
    if averaged is not None:
        last_map = _name_of(averaged, features, stages, traced)
        features.setdefault(last_map, averaged)
    elif last_map is None and stages:
        last_map = stages[-1]
    if pooled is None and last_map is not None:
        pooled = replace(features[last_map], what="mean")
    if pooled is not None:
        features.setdefault(POOLED, pooled)
    roles = Roles(
        stem,
        _with_space(stages, features, traced),
        last_map,
        None if pooled is None else POOLED,
        bool(pooled and last_map and is_mean(value_of(features[last_map], traced), value_of(pooled, traced))),
    )
    return Found(features, roles, head.classifier if head else None)


def _name_of(source: Source, features: Mapping[str, Source], names: Sequence[str], traced: Trace) -> str:
    value = value_of(source, traced)
    return next((name for name in reversed(names) if equal(value_of(features[name], traced), value)), LAST_MAP)


def _with_space(stages: Sequence[str], features: Mapping[str, Source], traced: Trace) -> tuple[str, ...]:
    """The stages without those of 1x1, of which there is nothing to compare in space, unless there are no others."""
    larger = [name for name in stages if value_of(features[name], traced).shape[2:].numel() > 1]
    return tuple(larger or stages)
