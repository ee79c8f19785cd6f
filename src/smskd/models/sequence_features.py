"""Where the features of a network that reads sequences of tokens are read: the hidden states of its layers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from smskd.interfaces.inputs import Inputs
from smskd.models.feature_discovery import Found, with_head
from smskd.models.module_outputs import Source
from smskd.models.tracing import Call, Trace, equal, trace

_OPTION = "output_hidden_states"


def sequence_features(module: nn.Module, example: Inputs) -> Found:
    """The features of a network that takes several tensors by name.

    ``embeddings`` is what goes into the first layer, ``block1``, ``block2`` and so on are the hidden states of the
    layers, ``pooled`` is the vector that the classifier reads. Of a network of transformers they are its
    ``hidden_states``; of any other the outputs of the members of the longest ``nn.ModuleList`` whose members put out
    hidden states.

    Args:
        module: the network.
        example: samples of several tensors by name.

    Raises:
        UserError: the network does not accept such inputs, or returns no logits.
    """
    of_library = any(base.__module__.startswith("transformers.") for base in type(module).__mro__)
    traced = trace(module, example, _with_states(module) if of_library else None)
    states = [state for state in getattr(traced.output, "hidden_states", None) or () if isinstance(state, Tensor)]
    calls = calls_of(states, traced) if states else _listed(traced)
    calls = [call for call in calls if _has_tokens(call, traced)]
    whole = len(states) == len(calls)
    embedding = calls[:1] if states and whole else []
    blocks = calls[len(embedding) :]
    named = [("embeddings", call) for call in embedding]
    named += [(f"block{number}", call) for number, call in enumerate(blocks, start=1)]
    found = with_head(traced, {name: Source(call.name, call=call.number) for name, call in named}, None, ())
    layers = tuple(name for name, _ in named[len(embedding) :])
    return replace(found, roles=replace(found.roles, layers=layers))


def calls_of(states: Sequence[Tensor], traced: Trace) -> list[Call]:
    """For each hidden state the outermost call that puts it out, of the class that puts out most of them."""
    matching = [calls for calls in (_matching(state, traced) for state in states) if calls]
    kinds = Counter(kind for calls in matching[1:] or matching for kind in {type(call.module) for call in calls})
    depths = {type(call.module): call.depth for calls in matching for call in calls}
    block = max(kinds, key=lambda kind: (kinds[kind], -depths[kind]), default=None)

    def rank(call: Call, number: int) -> tuple[bool, int, int]:
        # The first state may be what goes into the first block, which a module of any class puts out.
        return type(call.module) is block, kinds[type(call.module)] if number else 0, -call.depth

    return [max(calls, key=lambda call: rank(call, number)) for number, calls in enumerate(matching)]


def _matching(state: Tensor, traced: Trace) -> list[Call]:
    """The calls that put out a hidden state: the tensor itself, its values, or the tokens that it is a map of."""
    same = [call for call in traced.calls if call.output is state]
    same = same or [call for call in traced.calls if equal(call.output, state)]
    tokens = state.flatten(2).transpose(1, 2) if state.ndim == 4 else None
    return same + [call for call in traced.calls if equal(call.output, tokens)]


def _with_states(module: nn.Module) -> Any:
    def run(**inputs: Tensor) -> Any:
        return module(**inputs, **{_OPTION: True})

    return run


def _has_tokens(call: Call, traced: Trace) -> bool:
    value = call.tensor
    return value is not None and value.ndim == 3 and value.shape[1] == traced.tokens


def _listed(traced: Trace) -> list[Call]:
    """The calls of the members of a list of modules that put out hidden states, of the list with most of them."""
    lists: dict[str, list[Call]] = {}
    for call in traced.calls:
        parent, _, own = call.name.rpartition(".")
        if own.isdigit() and _has_tokens(call, traced):
            lists.setdefault(parent, []).append(call)
    return max(lists.values(), key=len, default=[])
