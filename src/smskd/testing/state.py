"""What a method learns and remembers can be saved, loaded and copied, and goes on from there as if it had not been."""

import copy
import io
from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from smskd.interfaces.terms import Method
from smskd.testing.expect import require, require_same
from smskd.testing.inputs import Pair, backward, loss_parts, pair_for

_CALLS = 3


def through_safetensors(method: Method) -> None:
    """Saved after a call and loaded into modules that are built afresh, it goes on bit for bit."""

    def loaded(state: nn.Module, pair: Pair) -> nn.Module:
        tensors = {name: tensor.contiguous() for name, tensor in state.state_dict().items()}
        torch.manual_seed(99)
        other = pair.build(method)
        other.load_state_dict(load(save(tensors)))
        return other

    _goes_on(method, loaded, "loaded again")


def copied(method: Method) -> None:
    """A deep copy goes on as the original does."""
    _goes_on(method, lambda state, pair: copy.deepcopy(state), "copied")


def without_pickle(method: Method) -> None:
    """It is made of tensors, so that it is loaded with ``weights_only=True``."""
    buffer = io.BytesIO()
    torch.save(pair_for(method).build(method).state_dict(), buffer)
    buffer.seek(0)
    values = torch.load(buffer, weights_only=True)
    others = [name for name, value in values.items() if not isinstance(value, Tensor)]
    require(not others, f"no tensors: {', '.join(others)}")


def in_place(method: Method) -> None:
    """After the first call its tensors stay the same ones, changed in place: a CUDA graph goes on with those."""
    pair = pair_for(method)
    state = pair.build(method)
    _call(method, state, pair, 0)
    before = _tensors(state)
    _call(method, state, pair, 1)
    after = _tensors(state)
    replaced = [name for name, tensor in after.items() if tensor is not before.get(name)]
    require(not replaced, f"replaced instead of changed in place: {', '.join(replaced)}")


def _tensors(state: nn.Module) -> dict[str, Tensor]:
    return {**dict(state.named_parameters()), **dict(state.named_buffers())}


def _goes_on(method: Method, again: Callable[[nn.Module, Pair], nn.Module], what: str) -> None:
    pair = pair_for(method)
    state = pair.build(method)
    _call(method, state, pair, 0)
    other = again(state, pair)
    for call in range(1, _CALLS):
        ours, theirs = (_call(method, module, pair, call) for module in (state, other))
        require_same(ours, theirs, f"the state that was {what} goes on with other losses")
    require_same(state.state_dict(), other.state_dict(), f"the state that was {what} becomes another one")


def _call(method: Method, state: nn.Module, pair: Pair, number: int) -> dict[str, Tensor]:
    """A step of training on a batch of its own."""
    torch.manual_seed(number)
    parts = loss_parts(method, state, pair.inputs(method, seed=number))
    state.zero_grad()
    backward(parts)
    with torch.no_grad():
        for parameter in state.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-3 * parameter.grad)
    return {name: part.detach() for name, part in parts.items()}
