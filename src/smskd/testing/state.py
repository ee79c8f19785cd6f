"""The state of a term can be saved, loaded and copied, and training continues identically."""

import copy
import io
from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from smskd.testing.case import Case
from smskd.testing.expect import backward, copies, require, require_same

_CALLS = 3


def through_safetensors(case: Case) -> None:
    """Saved after a step and loaded into newly built modules, it continues bit for bit."""

    def loaded(state: nn.Module) -> nn.Module:
        tensors = {name: tensor.contiguous() for name, tensor in state.state_dict().items()}
        torch.manual_seed(99)
        other = case.build()
        other.load_state_dict(load(save(tensors)))
        return other

    _continues(case, loaded, "loaded")


def copied(case: Case) -> None:
    """A deep copy continues as the original does."""
    _continues(case, copy.deepcopy, "copied")


def without_pickle(case: Case) -> None:
    """It consists of tensors, so that it is loaded with ``weights_only=True``."""
    buffer = io.BytesIO()
    torch.save(case.ready().state_dict(), buffer)
    buffer.seek(0)
    values = torch.load(buffer, weights_only=True)
    others = [name for name, value in values.items() if not isinstance(value, Tensor)]
    require(not others, f"no tensors: {', '.join(others)}")


def in_place(case: Case) -> None:
    """After the first step its tensors remain the same objects, changed in place, as CUDA graphs require."""
    state = case.ready()
    _step(case, state, 0)
    before = _tensors(state)
    _step(case, state, 1)
    case.end_stage(state)
    after = _tensors(state)
    replaced = [name for name, tensor in after.items() if tensor is not before.get(name)]
    require(not replaced, f"replaced instead of changed in place: {', '.join(replaced)}")


def _tensors(state: nn.Module) -> dict[str, Tensor]:
    return {**dict(state.named_parameters()), **dict(state.named_buffers())}


def _continues(case: Case, again: Callable[[nn.Module], nn.Module], what: str) -> None:
    state = case.ready()
    _step(case, state, 0)
    other = again(state)
    for number in range(1, _CALLS):
        ours, theirs = (_step(case, module, number) for module in (state, other))
        require_same(ours, theirs, f"with the state {what}, training continues with other losses")
    for module in (state, other):
        case.end_stage(module)
    require_same(state.state_dict(), other.state_dict(), f"the state {what} becomes another one")


def _step(case: Case, state: nn.Module, number: int) -> dict[str, Tensor]:
    """A step of training on a batch of its own."""
    torch.manual_seed(number)
    parts = case.loss(state, case.inputs(seed=number))
    state.zero_grad()
    backward(parts)
    with torch.no_grad():
        for parameter in state.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-3 * parameter.grad)
    return copies(parts)
