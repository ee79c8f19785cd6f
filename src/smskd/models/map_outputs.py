"""Which outputs of a network's modules are feature maps, and whether their channels come first or last."""

from collections.abc import Iterable
from itertools import dropwhile

from torch import Tensor, nn

from smskd.models.module_outputs import Arrangement, Source
from smskd.models.tracing import Call, Trace, fits_image

_ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_POOLING = (*_ADAPTIVE, nn.AvgPool2d, nn.MaxPool2d)
_CHANNELS_FIRST = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, *_POOLING)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)
_LEAST_TOKENS = 4


def map_calls(traced: Trace) -> list[Call]:
    """The calls whose outputs are maps, without those before the first parameters (a normalisation).

    An output is no map if it is the same for all images (a positional encoding) or in all places (a gate), if it is
    that of global pooling, or if it arises within a module from tokens to tokens (heads of an attention).
    """
    pooled = {id(call.output) for call in traced.calls if _pools_globally(call)}
    weighted = dropwhile(lambda call: not _has_parameters(call), traced.calls)
    dead = not any(call.varies for call in traced.calls)  # a network whose weights are all zero
    attending = {call.name for call in traced.calls if is_sequence(call.input) and is_sequence(call.output)}
    return [
        call
        for call in weighted
        if arrangement(call, traced) is not None
        and (call.varies or dead)
        and id(call.output) not in pooled
        and not any(call.name.startswith(f"{name}.") for name in attending)
    ]


def source_of(call: Call, traced: Trace) -> Source:
    """Where the output of a call is read, turned if it is a map whose channels come last."""
    return Source(call.name, call=call.number, arrangement=arrangement(call, traced) or "given")


def map_size(call: Call, traced: Trace) -> tuple[int, int]:
    """Height and width of a map that a call puts out."""
    shape = call.output.shape
    return (shape[1], shape[2]) if arrangement(call, traced) == "channels_last" else (shape[2], shape[3])


def arrangement(call: Call, traced: Trace) -> Arrangement | None:
    """``given`` where the channels of a map are its first dimension, ``channels_last`` where they are its last.

    The sizes determine it where only one choice has the aspect ratio of the image, otherwise the layer that gives or
    takes the tensor, or the kinds of layers that the module, or else the network, consists of. None where there are
    layers of both kinds, so that it is not known, and where the output is no map.
    """
    value = call.tensor
    if value is None or value.ndim != 4:
        return None
    first = fits_image((value.shape[2], value.shape[3]), traced.image_size)
    last = fits_image((value.shape[1], value.shape[2]), traced.image_size)
    if first != last:
        return "given" if first else "channels_last"
    next_to_it = [other for other in traced.calls if other.output is value or other.input is value]
    known = [kind for kind in map(_channels_of, next_to_it) if kind is not None]
    if known:
        return known[0]
    within = [other for other in traced.calls if other.name.startswith(f"{call.name}.")]
    kinds = _kinds(within) or _kinds(traced.calls)
    return kinds.pop() if first and len(kinds) == 1 else None


def goes_on_with_tokens(traced: Trace) -> bool:
    """Whether the network goes on from its last map with tokens, so that its maps are an early part of it alone."""
    maps = map_calls(traced)
    behind = traced.calls[traced.calls.index(maps[-1]) + 1 :] if maps else traced.calls
    return any(is_sequence(call.output) and _has_parameters(call) for call in behind)


def is_sequence(value: object) -> bool:
    """Whether a tensor is [N, tokens, width]."""
    return isinstance(value, Tensor) and value.ndim == 3 and value.shape[1] >= _LEAST_TOKENS and value.shape[2] > 1


def _has_parameters(call: Call) -> bool:
    return any(True for _ in call.module.parameters())


def _channels_of(call: Call) -> Arrangement | None:
    if isinstance(call.module, _CHANNELS_FIRST):
        return "given"
    # A subclass of LayerNorm may turn the map itself.
    return "channels_last" if type(call.module) in _CHANNELS_LAST else None


def _kinds(calls: Iterable[Call]) -> set[Arrangement]:
    """The arrangements of the maps that layers of known kinds put out."""
    found = (_channels_of(call) for call in calls if isinstance(call.output, Tensor) and call.output.ndim == 4)
    return {kind for kind in found if kind is not None}


def _pools_globally(call: Call) -> bool:
    if not isinstance(call.module, _POOLING) or call.tensor is None or call.tensor.ndim != 4:
        return False
    return isinstance(call.module, _ADAPTIVE) or tuple(call.tensor.shape[2:]) == (1, 1)
