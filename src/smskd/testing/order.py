"""Whether the order of the samples in a batch changes a method's loss, and whether the method says so."""

import copy
from statistics import fmean, stdev

import torch
from torch import nn

from smskd.interfaces.terms import Method
from smskd.testing.expect import require, total
from smskd.testing.inputs import Inputs, loss_parts, pair_for, pretraining_parts

_TOLERANCE = 1e-4
"""Of the loss: sums over a batch in another order differ by rounding."""

_DRAWS = 16
"""Seeds over which losses that draw are averaged."""

_DEVIATIONS = 5.0
"""Standard errors by which two averages may differ."""


def order_of_the_batch(method: Method) -> None:
    """The loss does not change with the order of the samples, or the method's ``order_matters`` says that it does.

    A loss that draws random numbers is compared in its average over draws.
    """
    pair = pair_for(method)
    state, inputs = pair.build(method), pair.inputs(method)
    phases = [False] if method.pretraining(pair.sides(method)[0]) is None else [False, True]
    other = inputs.reordered(torch.tensor([3, 0, 7, 1, 6, 2, 5, 4]))
    differs = [_differ(method, state, inputs, other, phase) for phase in phases]
    if method.order_matters:
        require(any(differs), "order_matters is True, and the loss does not change with the order of the samples")
    else:
        require(not any(differs), "the loss changes with the order of the samples; say so with order_matters")


def _differ(method: Method, state: nn.Module, inputs: Inputs, other: Inputs, phase: bool) -> bool:
    first = [_loss(method, state, inputs, phase, seed) for seed in (0, 1)]
    tolerance = _TOLERANCE * abs(first[0]) + 1e-7
    if first[0] == first[1]:
        return abs(_loss(method, state, other, phase, 0) - first[0]) > tolerance
    one, two = ([_loss(method, state, given, phase, seed) for seed in range(_DRAWS)] for given in (inputs, other))
    error = ((stdev(one) ** 2 + stdev(two) ** 2) / _DRAWS) ** 0.5
    return bool(abs(fmean(one) - fmean(two)) > _DEVIATIONS * error + tolerance)


def _loss(method: Method, state: nn.Module, inputs: Inputs, phase: bool, seed: int) -> float:
    """On a copy of the modules, whose generators are seeded as torch is."""
    twin = copy.deepcopy(state)
    torch.manual_seed(seed)
    for module in twin.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Generator):
                value.manual_seed(seed)
    parts = (pretraining_parts if phase else loss_parts)(method, twin, inputs)
    return float(total(parts).detach())
