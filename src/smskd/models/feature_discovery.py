"""Discovers the features of an arbitrary network from the outputs of its modules in one forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any, Literal

from torch import Tensor, nn

from smskd.errors import UserError, nearest
from smskd.interfaces.features import LOGITS, PREACTIVATION
from smskd.models.dry_run import as_user_error, like_weights, preserve_state

POOLED = "pooled"

_ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_POOLING = (*_ADAPTIVE, nn.AvgPool2d, nn.MaxPool2d)


@dataclass(frozen=True)
class Source:
    """Where a feature is read.

    Attributes:
        module: the name of the module.
        what: its output, its first input flattened to [N, width], or the mean of its output over the image.
    """

    module: str
    what: Literal["output", "input", "mean"]

    def read(self, inputs: tuple[Any, ...], output: Any) -> Tensor:
        """The feature, from the module's positional arguments and its output."""
        if self.what == "input":
            first: Tensor = inputs[0]
            return first.flatten(start_dim=1)
        out: Tensor = output
        return out.mean(dim=(2, 3)) if self.what == "mean" else out


@dataclass(frozen=True)
class Found:
    """The result of :func:`discover`.

    Attributes:
        features: the features by name, in network order.
        classifier: the name of the linear layer whose output is the logits; None where there is none.
    """

    features: Mapping[str, Source]
    classifier: str | None


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    output: Any

    @property
    def depth(self) -> int:
        return self.name.count(".")


def logits_of(output: object) -> Tensor:
    """The logits [N, classes] in a network's output: the output itself, or its attribute ``logits`` (transformers).

    Raises:
        UserError: the output is neither a tensor nor has a tensor as ``logits``.
    """
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        kind = type(output).__name__
        raise UserError(f"the model's output is a {kind}; that of a classifier is a tensor of logits [N, classes]")
    return logits


def discover(module: nn.Module, example: Tensor, mapping: Mapping[str, str] | None = None) -> Found:
    """Discovers the features in a forward pass in eval mode; modes, buffers and random state are left as they were.

    Args:
        module: a network that maps images to logits.
        example: images [N, channels, height, width].
        mapping: feature names to module names, in place of the maps that would be discovered. ``pooled`` is discovered
            nevertheless, unless it is among them.

    Raises:
        UserError: the network does not accept such images or returns no logits, or the mapping names a module that does
            not exist, is not called, or outputs neither a map nor a vector.
    """
    calls, logits = _recorded_calls(module, example)
    sources = _maps(calls) if mapping is None else _mapped(mapping, module, calls)
    linear = next((call for call in reversed(calls) if isinstance(call.module, nn.Linear)), None)
    if POOLED not in sources:
        sources |= _pooled(linear, list(sources.values()) if mapping is None else list(_maps(calls).values()))
    classifier = linear.name if linear is not None and linear.output is logits else None
    return Found(sources, classifier)


def _recorded_calls(module: nn.Module, example: Tensor) -> tuple[list[_Call], Tensor]:
    """The calls of all submodules in order of completion, and the logits."""
    calls: list[_Call] = []
    names = {part: name for name, part in module.named_modules() if name}

    def record(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls.append(_Call(names[part], part, output))

    handles = [part.register_forward_hook(record) for part in names]
    try:
        with preserve_state(module), as_user_error(tuple(example.shape[1:])):
            output = module(like_weights(module, example))
    finally:
        for handle in handles:
            handle.remove()
    return calls, logits_of(output)


def _maps(calls: list[_Call]) -> dict[str, Source]:
    """The features ``stem``, the first map, and ``stage1`` and so on, the last map of each resolution.

    At each resolution the outermost modules count: the strided convolution within a block is called last, but the stage
    ends with the block before. Three kinds of outputs are not maps: those before the first parameters (a
    normalisation), those of global pooling, and those smaller than a later map (inside squeeze-and-excitation).
    """
    pooled = {id(call.output) for call in calls if _pools_globally(call)}
    weighted = dropwhile(lambda call: not any(True for _ in call.module.parameters()), calls)
    maps = [call for call in weighted if _is_map(call.output) and id(call.output) not in pooled]
    last: dict[tuple[int, ...], _Call] = {}
    for call in maps:
        size = tuple(call.output.shape[2:])
        if size in last and call.depth > last[size].depth:
            continue
        last.pop(size, None)
        last[size] = call
    stages: list[_Call] = []
    largest = 0
    for (height, width), call in reversed(last.items()):
        if height * width > largest:
            largest = height * width
            stages.insert(0, call)
    if len(stages) > 1:
        stages = [call for call in stages if call is not maps[0]]
    named = {f"stage{number}": call for number, call in enumerate(stages, start=1)}
    stem = {"stem": maps[0]} if maps else {}
    return {name: Source(call.name, "output") for name, call in (stem | named).items()}


def _is_map(output: object) -> bool:
    return isinstance(output, Tensor) and output.ndim == 4


def _pools_globally(call: _Call) -> bool:
    if not isinstance(call.module, _POOLING) or not _is_map(call.output):
        return False
    return isinstance(call.module, _ADAPTIVE) or tuple(call.output.shape[2:]) == (1, 1)


def _pooled(linear: _Call | None, maps: list[Source]) -> dict[str, Source]:
    """The input of the last linear layer; without one, the mean of the last map."""
    if linear is not None:
        return {POOLED: Source(linear.name, "input")}
    return {POOLED: Source(maps[-1].module, "mean")} if maps else {}


def _mapped(mapping: Mapping[str, str], module: nn.Module, calls: list[_Call]) -> dict[str, Source]:
    known = [name for name, _part in module.named_modules() if name]
    last = {call.name: (position, call) for position, call in enumerate(calls)}
    for feature, name in mapping.items():
        where = f"feature {feature!r}"
        if feature == LOGITS or feature.endswith(PREACTIVATION):
            raise UserError(f"{where}: {LOGITS} and *{PREACTIVATION} are reserved names; choose another")
        if name not in known:
            raise UserError(f"{where}: the model has no module {name!r}{nearest(name, known)}")
        if name not in last:
            raise UserError(f"{where}: the module {name!r} is not called in a forward pass")
        output = last[name][1].output
        if not isinstance(output, Tensor) or output.ndim not in (2, 4):
            found = f"shape {list(output.shape)}" if isinstance(output, Tensor) else f"type {type(output).__name__}"
            wanted = "a map [N, C, H, W] or a vector [N, width] is needed"
            raise UserError(f"{where}: the output of the module {name!r} has {found}; {wanted}")
    in_order = sorted(mapping.items(), key=lambda item: last[item[1]][0])
    return {feature: Source(name, "output") for feature, name in in_order}
