"""Learning rates against values by hand, and the optimizer's state across stages and on disk."""

import math

import pytest
import torch
from torch import nn

from smskd.config.stage import Stage
from smskd.recipe import OptimizerSpec, ScheduleSpec
from smskd.training.optimizer import (
    build_optimizer,
    carry_state,
    learning_rate,
    load_state_tensors,
    set_learning_rate,
    state_tensors,
)


def stage(first: int, last: int, schedule: ScheduleSpec | None = None) -> Stage:
    return Stage(methods=(), first=first, last=last, ce_weight=1.0, schedule=schedule)


def rate(schedule: ScheduleSpec, epoch: int, epochs: int = 240, base: float = 0.05) -> float:
    return learning_rate(base, schedule, epochs, stage(1, epochs), epoch)


class TestStep:
    @pytest.mark.parametrize(
        ("epoch", "expected"),
        [
            (1, 0.05),
            (149, 0.05),
            (150, 0.05),
            (151, 0.005),
            (180, 0.005),
            (181, 5e-4),
            (210, 5e-4),
            (211, 5e-5),
            (240, 5e-5),
        ],
    )
    def test_changes_after_the_decay_epoch(self, epoch: int, expected: float) -> None:
        """As `steps = sum(epoch > decay_epochs)` of the published code, epochs counted from 1."""
        assert rate(ScheduleSpec(), epoch) == pytest.approx(expected, rel=1e-12)

    def test_goes_on_beyond_the_budget(self) -> None:
        assert learning_rate(0.05, ScheduleSpec(), 240, stage(241, 330), 330) == pytest.approx(5e-5)

    def test_does_not_start_anew_with_a_stage(self) -> None:
        assert learning_rate(0.05, ScheduleSpec(), 240, stage(151, 240), 151) == pytest.approx(0.005)

    def test_another_rate_of_decay(self) -> None:
        assert rate(ScheduleSpec(decay_epochs=(3, 5), decay_rate=0.5), 6, 8, 1.0) == 0.25


class TestCosine:
    @pytest.mark.parametrize("epoch", range(1, 11))
    def test_half_a_wave(self, epoch: int) -> None:
        expected = 0.2 * (1 + math.cos(math.pi * (epoch - 1) / 10)) / 2
        assert rate(ScheduleSpec(name="cosine"), epoch, 10, 0.2) == pytest.approx(expected)

    def test_begins_after_the_warmup(self) -> None:
        schedule = ScheduleSpec(name="cosine", warmup_epochs=4)
        found = [rate(schedule, epoch, 10, 0.2) for epoch in range(1, 11)]
        rise = [0.05, 0.1, 0.15, 0.2]
        fall = [0.2 * (1 + math.cos(math.pi * place / 6)) / 2 for place in range(6)]
        assert found == pytest.approx(rise + fall)


def test_constant() -> None:
    assert {rate(ScheduleSpec(name="constant"), epoch) for epoch in range(1, 241)} == {0.05}


def test_warmup_before_steps() -> None:
    schedule = ScheduleSpec(warmup_epochs=5, decay_epochs=(6,))
    assert [rate(schedule, epoch, 8, 1.0) for epoch in range(1, 9)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1, 0.1, 0.1]
    )


class TestOwnScheduleOfAStage:
    def test_counts_from_the_stages_start(self) -> None:
        own = ScheduleSpec(decay_epochs=(2,), learning_rate=0.3)
        late = stage(11, 14, own)
        assert [learning_rate(0.05, ScheduleSpec(), 240, late, epoch) for epoch in range(11, 15)] == pytest.approx(
            [0.3, 0.3, 0.03, 0.03]
        )

    def test_a_cosine_ends_with_the_stage(self) -> None:
        late = stage(11, 14, ScheduleSpec(name="cosine"))
        expected = [0.05 * (1 + math.cos(math.pi * place / 4)) / 2 for place in range(4)]
        assert [learning_rate(0.05, ScheduleSpec(), 12, late, epoch) for epoch in range(11, 15)] == pytest.approx(
            expected
        )

    def test_the_optimizers_rate_is_the_default(self) -> None:
        late = stage(11, 14, ScheduleSpec(name="constant"))
        assert learning_rate(0.05, ScheduleSpec(), 240, late, 12) == 0.05


def stepped(parameters: list[nn.Parameter], spec: OptimizerSpec, steps: int = 2) -> torch.optim.Optimizer:
    optimizer = build_optimizer(spec, parameters)
    for _ in range(steps):
        step(optimizer, parameters)
    return optimizer


def step(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    optimizer.zero_grad()
    sum((parameter**2).sum() for parameter in parameters).backward()  # type: ignore[union-attr]
    optimizer.step()


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (4,), ())]


SPECS = [
    OptimizerSpec(),
    OptimizerSpec(nesterov=True),
    OptimizerSpec(momentum=0.0),
    OptimizerSpec(name="adamw", learning_rate=0.01),
]


class TestOptimizers:
    def test_sgd_by_hand(self) -> None:
        (parameter,) = one = [nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))]
        value, velocity = parameter.detach().clone(), torch.zeros(2, dtype=torch.float64)
        stepped(one, OptimizerSpec(learning_rate=0.1, momentum=0.9, weight_decay=0.01), steps=3)
        for _ in range(3):
            velocity = 0.9 * velocity + 2 * value + 0.01 * value
            value = value - 0.1 * velocity
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-12, atol=0.0)

    def test_adamw_has_decoupled_decay(self) -> None:
        optimizer = build_optimizer(OptimizerSpec(name="adamw", weight_decay=0.05, learning_rate=0.01), parameters())
        assert isinstance(optimizer, torch.optim.AdamW)
        assert optimizer.param_groups[0]["weight_decay"] == 0.05

    def test_set_learning_rate(self) -> None:
        optimizer = build_optimizer(OptimizerSpec(), parameters())
        set_learning_rate(optimizer, 0.125)
        assert [group["lr"] for group in optimizer.param_groups] == [0.125]


@pytest.mark.parametrize("spec", SPECS)
def test_state_goes_to_disk_and_back(spec: OptimizerSpec) -> None:
    """Steps after it was put back are those without the interruption, bit by bit."""
    ours = parameters()
    optimizer = stepped(ours, spec)
    saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer).items()}
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    again = build_optimizer(spec, copies)
    load_state_tensors(again, saved)
    for _ in range(3):
        step(optimizer, ours)
        step(again, copies)
    assert all(torch.equal(one, other) for one, other in zip(ours, copies, strict=True))
    assert state_tensors(again).keys() == state_tensors(optimizer).keys()


@pytest.mark.parametrize("spec", SPECS)
def test_carrying_goes_on_as_one_optimizer(spec: OptimizerSpec) -> None:
    ours, copies = parameters(), parameters()
    optimizer, first = stepped(ours, spec), stepped(copies, spec)
    new = nn.Parameter(torch.ones(2))
    second = build_optimizer(spec, [*copies, new])
    carry_state(first, second)
    assert not any(bool(value.any()) for value in second.state.get(new, {}).values()), "zeros are the same as nothing"
    for _ in range(2):
        step(optimizer, ours)
        step(second, [*copies, new])
    assert all(torch.equal(one, other) for one, other in zip(ours, copies, strict=True))


def test_the_momentum_keeps_the_parameters_memory_format() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last))
    optimizer = stepped([weight], OptimizerSpec())
    again = build_optimizer(OptimizerSpec(), [weight])
    load_state_tensors(again, {name: tensor.contiguous() for name, tensor in state_tensors(optimizer).items()})
    assert again.state[weight]["momentum_buffer"].is_contiguous(memory_format=torch.channels_last)
