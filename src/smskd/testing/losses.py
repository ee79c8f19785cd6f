"""A method's loss on random features: finite, differentiable where it should be, the same whenever it is asked."""

import torch
from torch import Tensor, nn

from smskd.interfaces.terms import Method
from smskd.testing.expect import require, require_finite_gradients, require_finite_scalars, require_same, total
from smskd.testing.inputs import Inputs, backward, loss_parts, pair_for, pretraining_parts

_AUTOCAST_TOLERANCE = 0.1
"""How far 16 bits may move a loss, as a share of it."""


def loss(method: Method) -> None:
    """Its parts are finite scalars, the student gets a finite gradient that is not zero, nothing read is changed."""
    pair = pair_for(method)
    state, inputs = pair.build(method), pair.inputs(method)
    before = _tensors(inputs)
    parts = loss_parts(method, state, inputs)
    require_finite_scalars(parts, "the loss")
    backward(parts)
    pretraining = method.pretraining(pair.sides(method)[0])
    if pretraining is not None:
        parts = pretraining_parts(method, state, inputs)
        require_finite_scalars(parts, "the loss of the phase before the stage")
        if pretraining.trains_student:
            backward(parts)
    require_finite_gradients(inputs.leaves)
    gradients = [leaf.grad for leaf in inputs.leaves.values() if leaf.grad is not None]
    require(any(bool(gradient.abs().max() > 0) for gradient in gradients), "no gradient reaches the student")
    require_same(_tensors(inputs), before, "the loss changes in place what it reads")


def trained_parameters(method: Method) -> None:
    """Whatever of its modules is trained gets a finite gradient, in the stage or in the phase before it."""
    pair = pair_for(method)
    state, inputs = pair.build(method), pair.inputs(method)
    wanted = {name: parameter for name, parameter in state.named_parameters() if parameter.requires_grad}
    backward(loss_parts(method, state, inputs))
    if method.pretraining(pair.sides(method)[0]) is not None:
        pretrained = method.pretrained(state).requires_grad_(True)
        backward(pretraining_parts(method, state, inputs))
        wanted |= {f"prepared {name}": parameter for name, parameter in pretrained.named_parameters()}
    idle = [name for name, parameter in wanted.items() if parameter.grad is None]
    require(not idle, f"no gradient reaches: {', '.join(idle)}")
    require_finite_gradients(wanted)


def autocast(method: Method) -> None:
    """Under bfloat16 autocast the parts are finite, float32 and much the same, and so are the gradients finite."""
    pair = pair_for(method)
    results = []
    for enabled in (False, True):
        torch.manual_seed(0)
        state, inputs = pair.build(method), pair.inputs(method)
        parts = loss_parts(method, state, inputs, autocast=enabled)
        require_finite_scalars(parts, "the loss")
        narrow = [name for name, part in parts.items() if enabled and part.dtype != torch.float32]
        require(not narrow, f"computed in 16 bits: {', '.join(narrow)}")
        backward(parts)
        require_finite_gradients(inputs.leaves | dict(state.named_parameters()))
        results.append(float(total(parts).detach()))
    plain, mixed = results
    message = f"the loss is {plain:g}, and {mixed:g} under autocast"
    require(abs(mixed - plain) <= _AUTOCAST_TOLERANCE * abs(plain) + 1e-6, message)
    if method.pretraining(pair.sides(method)[0]) is not None:
        state = pair.build(method)
        require_finite_scalars(pretraining_parts(method, state, pair.inputs(method), autocast=True), "the phase's loss")


def batch_of_one(method: Method) -> None:
    """A single sample gives neither NaN nor infinity."""
    pair = pair_for(method)
    state, inputs = pair.build(method).eval(), pair.inputs(method, samples=1)
    parts = loss_parts(method, state, inputs)
    require_finite_scalars(parts, "the loss of one sample")
    backward(parts)
    require_finite_gradients(inputs.leaves)


def deterministic(method: Method) -> None:
    """The same seed gives the same modules, losses and gradients, bit for bit."""
    pair = pair_for(method)
    runs = []
    for _ in range(2):
        torch.manual_seed(7)
        state, inputs = pair.build(method), pair.inputs(method)
        built = _copies(state)
        parts = loss_parts(method, state, inputs)
        backward(parts)
        gradients = {name: leaf.grad for name, leaf in inputs.leaves.items() if leaf.grad is not None}
        runs.append((built, {name: part.detach() for name, part in parts.items()}, gradients, _copies(state)))
    what = ("modules that differ", "losses that differ", "gradients that differ", "memories that differ")
    for one, other, differing in zip(*runs, what, strict=True):
        require_same(one, other, f"two runs with the same seed have {differing}")


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    own, other = inputs.student, inputs.teacher
    tensors = {"student logits": own.logits, "teacher logits": other.logits, "labels": inputs.batch.y}
    tensors |= {f"student feature {number}": feature for number, feature in enumerate(own.features)}
    tensors |= {f"teacher feature {number}": feature for number, feature in enumerate(other.features)}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _copies(state: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.state_dict().items()}
