"""The last layer of a network: what it reads, and the map that this is the mean of."""

from dataclasses import dataclass

from torch import Tensor, nn

from smskd.models.last_layer import as_linear
from smskd.models.map_outputs import arrangement, map_calls, map_size, source_of
from smskd.models.module_outputs import Source, logits_of
from smskd.models.probe import agree
from smskd.models.tracing import Call, Trace


@dataclass(frozen=True)
class Head:
    """The last layer.

    Attributes:
        pooled: the vector that it reads.
        output: its output.
        classifier: its name, if it is linear, or a 1x1 convolution, and its output is the logits.
    """

    pooled: Source
    output: Tensor
    classifier: str | None


def head_of(traced: Trace) -> Head | None:
    """The layer that gives the logits: the last linear one, or a 1x1 convolution in front of or behind the pooling.

    Args:
        traced: a forward pass of the network.

    Raises:
        UserError: the network returns no logits.
    """
    logits = logits_of(traced.output)
    layers = [
        call for call in traced.calls if isinstance(call.module, nn.Linear | nn.Conv2d) and call.tensor is not None
    ]
    for call in reversed(layers):
        value = call.output
        if isinstance(call.module, nn.Linear) and value.ndim == 2 and value.shape[1] == logits.shape[-1]:
            same = value is logits or (value.shape == logits.shape and agree(value, logits))
            return Head(Source(call.name, "input", call.number), value, call.name if same else None)
        if _gives_in_the_mean(call, logits):
            return Head(_input_mean(call, traced), value, call.name if as_linear(call.module) is not None else None)
    last = next((call for call in reversed(layers) if isinstance(call.module, nn.Linear)), None)
    if last is None or last.output.ndim != 2:
        return None
    return Head(Source(last.name, "input", last.number), last.output, None)


def averaged_map(vector: Tensor, traced: Trace) -> Source | None:
    """The last map whose mean the pooled vector is; one of 1x1 only where no other has its width."""
    maps = [call for call in map_calls(traced) if _width(call, traced) == vector.shape[1]]
    larger = [call for call in maps if map_size(call, traced) != (1, 1)]
    calls = larger or maps
    sources = (source_of(call, traced) for call in reversed(calls))
    return next((source for source in sources if is_mean(value_of(source, traced), vector)), None)


def value_of(source: Source, traced: Trace) -> Tensor:
    """The feature in that forward pass."""
    call = next(call for call in traced.calls if (call.name, call.number) == (source.module, source.call))
    return source.read((call.input,), call.output)


def is_mean(value: Tensor, vector: Tensor) -> bool:
    """Whether a vector [N, C] is the mean of a map [N, C, H, W] over its places, up to rounding."""
    return value.ndim == 4 and value.shape[:2] == vector.shape and agree(value.mean(dim=(2, 3)), vector)


def _gives_in_the_mean(call: Call, logits: Tensor) -> bool:
    value = call.output
    if not isinstance(call.module, nn.Conv2d) or value.ndim != 4 or value.shape[:2] != logits.shape:
        return False
    return agree(value.mean(dim=(2, 3)), logits)


def _input_mean(call: Call, traced: Trace) -> Source:
    """The mean over the image of what a convolution reads, taken where that is put out."""
    for other in reversed(traced.calls[: traced.calls.index(call)]):
        if other.output is call.input:
            return Source(other.name, "mean", other.number)
    return Source(call.name, "input_mean", call.number)


def _width(call: Call, traced: Trace) -> int:
    return int(call.output.shape[3 if arrangement(call, traced) == "channels_last" else 1])
