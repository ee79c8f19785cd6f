"""The features of a network that the user names: each by a module, one of its calls, and its tokens."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn

from smskd.errors import UserError, nearest
from smskd.interfaces.features import LOGITS, PREACTIVATION
from smskd.models.classifier_head import value_of
from smskd.models.feature_discovery import LAST_MAP, STEM, Found, with_head
from smskd.models.map_outputs import arrangement
from smskd.models.module_outputs import Source
from smskd.models.tracing import Call, Trace, grid_of

_PLACE = re.compile(r"(?P<module>.*?)(?::(?P<call>[1-9]\d*))?(?:\[(?P<prefix>\d+):\])?")
_SHOWN = 5


class _Place(NamedTuple):
    module: str
    call: int
    prefix: int | None


def named(module: nn.Module, traced: Trace, mapping: Mapping[str, str]) -> Found:
    """The features that a mapping names, and ``pooled``, which is discovered unless it is among them.

    Args:
        module: the network.
        traced: a forward pass of it.
        mapping: feature names to places: ``module``, ``module:2`` for the second call of a module that is called
            several times, ``module[1:]`` for an output [N, tokens, C] whose first token is none of a patch of the
            image.

    Raises:
        UserError: a module does not exist, is not called, or outputs neither a map nor tokens nor a vector.
    """
    known = [name for name, _part in module.named_modules() if name]
    order = {(call.name, call.number): position for position, call in enumerate(traced.calls)}
    found: dict[str, Source] = {}
    for feature, text in mapping.items():
        where = f"feature {feature!r}"
        if feature == LOGITS or feature.endswith(PREACTIVATION):
            raise UserError(f"{where}: {LOGITS} and *{PREACTIVATION} are reserved names; choose another")
        found[feature] = _source(_call(_place(text), traced, known, where), _place(text), traced, where)
    features = dict(sorted(found.items(), key=lambda item: order[item[1].module, item[1].call]))
    maps = [name for name, source in features.items() if value_of(source, traced).ndim == 4]
    stages = [name for name in maps if name not in (STEM, LAST_MAP)]
    found_head = with_head(
        traced,
        features,
        STEM if STEM in maps else None,
        stages or maps,
        LAST_MAP if LAST_MAP in maps else None,
    )
    layers = tuple(name for name, source in features.items() if value_of(source, traced).ndim == 3)
    return replace(found_head, roles=replace(found_head.roles, layers=layers)) if traced.tokens else found_head


def _place(text: str) -> _Place:
    match = _PLACE.fullmatch(text)
    assert match is not None  # every text matches
    return _Place(match["module"], int(match["call"] or 1), None if match["prefix"] is None else int(match["prefix"]))


def _call(place: _Place, traced: Trace, known: Iterable[str], where: str) -> Call:
    name, number, _ = place
    if name not in known:
        raise UserError(f"{where}: the model has no module {name!r}{_near(name, known)}")
    calls = [call for call in traced.calls if call.name == name]
    if not calls:
        raise UserError(f"{where}: the module {name!r} is not called in a forward pass")
    if number > len(calls):
        times = "once" if len(calls) == 1 else f"{len(calls)} times"
        raise UserError(
            f"{where}: the module {name!r} is called {times} in a forward pass, so there is no call {number}"
        )
    return calls[number - 1]


def _near(name: str, known: Iterable[str]) -> str:
    hint = nearest(name, known)
    return hint if len(list(known)) <= _SHOWN or "did you mean" in hint else "; smskd models NAME lists the features"


def _source(call: Call, place: _Place, traced: Trace, where: str) -> Source:
    output = call.output
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        found = f"shape {list(output.shape)}" if isinstance(output, Tensor) else f"type {type(output).__name__}"
        wanted = "a map [N, C, H, W], tokens [N, L, C] or a vector [N, width] is needed"
        raise UserError(f"{where}: the output of the module {call.name!r} has {found}; {wanted}")
    if output.ndim == 3:
        return _tokens(call, place, traced, where)
    if place.prefix is not None:
        raise UserError(f"{where}: [{place.prefix}:] is for outputs [N, tokens, C], not {list(output.shape)}")
    turned = arrangement(call, traced) if output.ndim == 4 else None
    return Source(call.name, call=call.number, arrangement=turned or "given")


def _tokens(call: Call, place: _Place, traced: Trace, where: str) -> Source:
    if call.output.shape[1] == traced.tokens and not place.prefix:
        return Source(call.name, call=call.number)
    prefix = place.prefix or 0
    patches = call.output.shape[1] - prefix
    grid = grid_of(patches, traced.image_size)
    if traced.tokens:
        raise UserError(
            f"{where}: the output of the module {call.name!r} has shape {list(call.output.shape)}, and the samples "
            f"have {traced.tokens} tokens"
        )
    if grid is None:
        height, width = traced.image_size
        raise UserError(
            f"{where}: the output of the module {call.name!r} has shape {list(call.output.shape)}, and {patches} "
            f"tokens are no grid of patches of an image of {height}x{width}; leave out those in front of the patches' "
            f"(class, distillation, registers) with '{call.name}[1:]'"
        )
    return Source(call.name, call=call.number, arrangement="map_of_tokens", prefix=prefix, grid=grid)
