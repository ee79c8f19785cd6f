"""Whether the samples of a batch influence each other's losses, by their order or at all."""

import copy
from statistics import fmean, stdev

import torch
from torch import nn

from smskd.interfaces.terms import TermInputs
from smskd.testing.case import Case, Phase
from smskd.testing.expect import require, total
from smskd.testing.inputs import selected
from smskd.testing.method_case import MethodCase

_TOLERANCE = 1e-4
"""Relative: sums over a batch in another order differ by rounding."""

_DRAWS = 16
"""Seeds over which losses with random numbers are averaged."""

_DEVIATIONS = 5.0
"""Standard errors by which two averages may differ."""

_ORDER = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])


def order_of_the_batch(case: MethodCase) -> None:
    """The loss is independent of the order of the samples, unless ``order_matters``.

    A loss with random numbers is compared in its average over draws.
    """
    state, inputs = case.ready(), case.inputs()
    other = selected(inputs, _ORDER)
    differs = [_differ(phase, state, [inputs], [other]) for phase in case.phases]
    if case.method.order_matters:
        require(any(differs), "order_matters is True, and the loss does not change with the order of the samples")
    else:
        require(not any(differs), "the loss changes with the order of the samples; set order_matters")


def related_samples(case: Case) -> None:
    """The loss of a sample is independent of the other samples of the batch, unless ``relates_samples``.

    The loss of a batch is then the average of the losses of its halves, once a first batch has set the memories.
    ``relates_samples`` without any dependence is an error too; in a loss with random numbers, such as that of CRD, the
    dependence need not show.
    """
    first = case.ready().eval()
    later = copy.deepcopy(first)
    inputs = case.inputs()
    for phase in case.phases:
        phase.parts(later, inputs)
    halves = [selected(inputs, half) for half in torch.arange(len(inputs.batch.y)).chunk(2)]
    if case.term.relates_samples:
        states = [(phase, state) for phase in case.phases for state in (first, later)]
        shown = any(_draws(phase, state, inputs) or _differ(phase, state, [inputs], halves) for phase, state in states)
        require(shown, "relates_samples is True, and the loss of a sample does not depend on other samples")
    else:
        differs = [_differ(phase, later, [inputs], halves) for phase in case.phases]
        require(not any(differs), "the loss of a sample depends on other samples of the batch; set relates_samples")


def _differ(phase: Phase, state: nn.Module, one: list[TermInputs], other: list[TermInputs]) -> bool:
    """Whether the average loss of some batches differs from that of others."""
    first = _loss(phase, state, one, 0)
    tolerance = _TOLERANCE * abs(first) + 1e-7
    if not _draws(phase, state, one[0]):
        return abs(_loss(phase, state, other, 0) - first) > tolerance
    ours, theirs = ([_loss(phase, state, given, seed) for seed in range(_DRAWS)] for given in (one, other))
    error = ((stdev(ours) ** 2 + stdev(theirs) ** 2) / _DRAWS) ** 0.5
    return bool(abs(fmean(ours) - fmean(theirs)) > _DEVIATIONS * error + tolerance)


def _draws(phase: Phase, state: nn.Module, inputs: TermInputs) -> bool:
    """Whether the loss depends on random numbers."""
    return _loss(phase, state, [inputs], 0) != _loss(phase, state, [inputs], 1)


def _loss(phase: Phase, state: nn.Module, batches: list[TermInputs], seed: int) -> float:
    """The average over batches, each on a copy of the modules, whose generators are seeded as torch is."""
    values = []
    for inputs in batches:
        twin = copy.deepcopy(state)
        torch.manual_seed(seed)
        for module in twin.modules():
            for value in vars(module).values():
                if isinstance(value, torch.Generator):
                    value.manual_seed(seed)
        values.append(float(total(phase.parts(twin, inputs)).detach()))
    return fmean(values)
