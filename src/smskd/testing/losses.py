"""The loss of a term on random inputs: finite, differentiable, deterministic."""

import torch
from torch import Tensor

from smskd.testing.case import Case
from smskd.testing.expect import (
    backward,
    copies,
    require,
    require_finite_gradients,
    require_finite_parts,
    require_same,
    total,
)
from smskd.testing.inputs import leaves, named_tensors

_AUTOCAST_TOLERANCE = 0.1
"""Relative deviation of a loss that 16 bits may cause."""


def loss(case: Case) -> None:
    """Its parts are finite, [N] or scalars; the student gets a finite, nonzero gradient; no input is changed."""
    state, inputs = case.ready(), case.inputs()
    before = copies(named_tensors(inputs))
    for phase in case.phases:
        parts = phase.parts(state, inputs)
        require_finite_parts(parts, len(inputs.batch.y), phase.where)
        if phase.trains_student:
            backward(parts)
    student = leaves(inputs)
    require_finite_gradients(student)
    gradients = [leaf.grad for leaf in student.values() if leaf.grad is not None]
    require(any(bool(gradient.abs().max() > 0) for gradient in gradients), "no gradient reaches the student")
    require_same(copies(named_tensors(inputs)), before, "the loss changes its inputs in place")


def trained_parameters(case: Case) -> None:
    """All trained parameters of its modules get a finite gradient, in the stage or in the phase before it."""
    state, inputs = case.ready(), case.inputs()
    wanted: dict[str, Tensor] = {}
    for phase in case.phases:
        wanted |= phase.trained(state)
        backward(phase.parts(state, inputs))
    idle = [name for name, parameter in wanted.items() if parameter.grad is None]
    require(not idle, f"no gradient reaches: {', '.join(idle)}")
    require_finite_gradients(wanted)


def autocast(case: Case) -> None:
    """Under bfloat16 autocast the parts are float32, finite and nearly the same; the gradients are finite."""
    for phase in case.phases:
        results = []
        for compute in (phase.parts, phase.under_autocast):
            torch.manual_seed(0)
            state, inputs = case.ready(), case.inputs()
            parts = compute(state, inputs)
            require_finite_parts(parts, len(inputs.batch.y), phase.where)
            narrow = [name for name, part in parts.items() if part.dtype != torch.float32]
            require(not narrow, f"{phase.where}: computed in 16 bits: {', '.join(narrow)}")
            backward(parts)
            require_finite_gradients(leaves(inputs) | dict(state.named_parameters()))
            results.append(float(total(parts).detach()))
        plain, mixed = results
        message = f"{phase.where} is {plain:g}, and {mixed:g} under autocast"
        require(abs(mixed - plain) <= _AUTOCAST_TOLERANCE * abs(plain) + 1e-6, message)


def batch_of_one(case: Case) -> None:
    """The loss of a single sample is finite, and so are its gradients."""
    state, inputs = case.ready().eval(), case.inputs(samples=1)
    parts = case.loss(state, inputs)
    require_finite_parts(parts, 1, "the loss of one sample")
    backward(parts)
    require_finite_gradients(leaves(inputs))


def deterministic(case: Case) -> None:
    """The same seed gives the same modules, losses and gradients, bit for bit."""
    runs = []
    for _ in range(2):
        torch.manual_seed(7)
        state, inputs = case.ready(), case.inputs()
        built = copies(state.state_dict())
        parts = case.loss(state, inputs)
        backward(parts)
        gradients = {name: leaf.grad for name, leaf in leaves(inputs).items() if leaf.grad is not None}
        runs.append((built, copies(parts), gradients, copies(state.state_dict())))
    differing = ("modules", "losses", "gradients", "memories")
    for one, other, name in zip(*runs, differing, strict=True):
        require_same(one, other, f"two runs with the same seed have different {name}")
