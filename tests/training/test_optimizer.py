"""Learning rates against values by hand, and the optimizer's state across stages and on disk."""

import math

import pytest
import torch
from torch import nn

from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.interfaces.objective import ParameterGroup
from smskd.strategies.resolved import ResolvedStage
from smskd.training.optimizer import (
    build_optimizer,
    carry_state,
    learning_rate,
    load_state_tensors,
    set_learning_rate,
    state_tensors,
)


def stage(first: int, last: int, schedule: ScheduleConfig | None = None) -> ResolvedStage:
    return ResolvedStage(
        methods=(),
        first=first,
        last=last,
        ce_weight=1.0,
        anchor=None,
        schedule=schedule,
        optimizer=OptimizerConfig(),
        batch_size=64,
        teacher=None,
        optimizer_state="keep",
        carry="last",
        reference="last",
        ema_decay=0.999,
    )


PUBLISHED = ScheduleConfig().resolve(240)


def rate(schedule: ScheduleConfig, epoch: int, epochs: int = 240, base: float = 0.05) -> float:
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
        assert rate(PUBLISHED, epoch) == pytest.approx(expected, rel=1e-12)

    def test_goes_on_beyond_the_budget(self) -> None:
        assert learning_rate(0.05, PUBLISHED, 240, stage(241, 330), 330) == pytest.approx(5e-5)

    def test_does_not_start_anew_with_a_stage(self) -> None:
        assert learning_rate(0.05, PUBLISHED, 240, stage(151, 240), 151) == pytest.approx(0.005)

    def test_another_rate_of_decay(self) -> None:
        assert rate(ScheduleConfig(decay_at=(3, 5), decay_rate=0.5), 6, 8, 1.0) == 0.25


class TestCosine:
    @pytest.mark.parametrize("epoch", range(1, 11))
    def test_half_a_wave(self, epoch: int) -> None:
        expected = 0.2 * (1 + math.cos(math.pi * (epoch - 1) / 10)) / 2
        assert rate(ScheduleConfig(name="cosine"), epoch, 10, 0.2) == pytest.approx(expected)

    def test_begins_after_the_warmup(self) -> None:
        schedule = ScheduleConfig(name="cosine", warmup_epochs=4)
        found = [rate(schedule, epoch, 10, 0.2) for epoch in range(1, 11)]
        rise = [0.05, 0.1, 0.15, 0.2]
        fall = [0.2 * (1 + math.cos(math.pi * place / 6)) / 2 for place in range(6)]
        assert found == pytest.approx(rise + fall)


def test_constant() -> None:
    assert {rate(ScheduleConfig(name="constant"), epoch) for epoch in range(1, 241)} == {0.05}


def test_warmup_before_steps() -> None:
    schedule = ScheduleConfig(warmup_epochs=5, decay_at=(6,))
    assert [rate(schedule, epoch, 8, 1.0) for epoch in range(1, 9)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1, 0.1, 0.1]
    )


class TestOwnScheduleOfAStage:
    def test_counts_from_the_stages_start(self) -> None:
        own = ScheduleConfig(decay_at=(2,), learning_rate=0.3)
        late = stage(11, 14, own)
        assert [learning_rate(0.05, PUBLISHED, 240, late, epoch) for epoch in range(11, 15)] == pytest.approx(
            [0.3, 0.3, 0.03, 0.03]
        )

    def test_a_cosine_ends_with_the_stage(self) -> None:
        late = stage(11, 14, ScheduleConfig(name="cosine"))
        expected = [0.05 * (1 + math.cos(math.pi * place / 4)) / 2 for place in range(4)]
        assert [learning_rate(0.05, PUBLISHED, 12, late, epoch) for epoch in range(11, 15)] == pytest.approx(expected)

    def test_the_optimizers_rate_is_the_default(self) -> None:
        late = stage(11, 14, ScheduleConfig(name="constant"))
        assert learning_rate(0.05, PUBLISHED, 240, late, 12) == 0.05


def stepped(parameters: list[nn.Parameter], config: OptimizerConfig, steps: int = 2) -> torch.optim.Optimizer:
    optimizer = build_optimizer(config, [ParameterGroup(tuple(parameters))])
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


CONFIGS = [
    OptimizerConfig(),
    OptimizerConfig(nesterov=True),
    OptimizerConfig(momentum=0.0),
    OptimizerConfig(name="adamw", learning_rate=0.01),
]


class TestOptimizers:
    def test_sgd_by_hand(self) -> None:
        (parameter,) = one = [nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))]
        value, velocity = parameter.detach().clone(), torch.zeros(2, dtype=torch.float64)
        stepped(one, OptimizerConfig(learning_rate=0.1, momentum=0.9, weight_decay=0.01), steps=3)
        for _ in range(3):
            velocity = 0.9 * velocity + 2 * value + 0.01 * value
            value = value - 0.1 * velocity
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-12, atol=0.0)

    def test_adamw_has_decoupled_decay(self) -> None:
        config = OptimizerConfig(name="adamw", weight_decay=0.05, learning_rate=0.01)
        optimizer = build_optimizer(config, [ParameterGroup(tuple(parameters()))])
        assert isinstance(optimizer, torch.optim.AdamW)
        assert optimizer.param_groups[0]["weight_decay"] == 0.05


class TestParameterGroups:
    def test_settings_of_their_own(self) -> None:
        """A learning rate of its own keeps its share of the optimizer's under a schedule."""
        first, second, third = parameters()
        groups = [
            ParameterGroup((first,)),
            ParameterGroup((second,), learning_rate=0.2),
            ParameterGroup((third,), weight_decay=0.25),
            ParameterGroup(()),
        ]
        optimizer = build_optimizer(OptimizerConfig(learning_rate=0.1, weight_decay=0.5), groups)
        assert [group["params"] for group in optimizer.param_groups] == [[first], [second], [third]]
        assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2, 0.1]
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.5, 0.25]
        set_learning_rate(optimizer, 0.05)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.1, 0.05])
        set_learning_rate(optimizer, 0.1)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.2, 0.1])

    @pytest.mark.parametrize("name", ["sgd", "adamw"])
    def test_they_act(self, name: str) -> None:
        """A rate of its own moves a parameter so much more; a decay of its own pulls it where there is no gradient."""
        config = OptimizerConfig(name=name, learning_rate=0.01, momentum=0.0, weight_decay=0.0)  # type: ignore[arg-type]
        plain, fast, decayed = [nn.Parameter(torch.ones(3)) for _ in range(3)]
        groups = [
            ParameterGroup((plain,)),
            ParameterGroup((fast,), learning_rate=0.03),
            ParameterGroup((decayed,), weight_decay=0.5),
        ]
        optimizer = build_optimizer(config, groups)
        (2 * plain.sum() + 2 * fast.sum() + 0 * decayed.sum()).backward()
        optimizer.step()
        moved = [float(1 - parameter.detach()[0]) for parameter in (plain, fast, decayed)]
        assert moved[1] == pytest.approx(3 * moved[0], rel=1e-4)
        assert moved[0] > 0
        assert moved[2] == pytest.approx(0.01 * 0.5, rel=1e-4)

    def test_state_of_several_groups_goes_to_disk_and_back(self) -> None:
        ours = parameters()

        def built(some: list[nn.Parameter]) -> torch.optim.Optimizer:
            groups = [ParameterGroup((some[0],)), ParameterGroup((some[1], some[2]), learning_rate=0.2)]
            return build_optimizer(OptimizerConfig(), groups)

        optimizer = built(ours)
        step(optimizer, ours)
        copies = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
        again = built(copies)
        load_state_tensors(again, {name: tensor.clone() for name, tensor in state_tensors(optimizer).items()})
        step(optimizer, ours)
        step(again, copies)
        assert all(torch.equal(one, other) for one, other in zip(ours, copies, strict=True))


@pytest.mark.parametrize("config", CONFIGS)
def test_state_goes_to_disk_and_back(config: OptimizerConfig) -> None:
    """Steps after it was put back are those without the interruption, bit by bit."""
    ours = parameters()
    optimizer = stepped(ours, config)
    saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer).items()}
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    again = build_optimizer(config, [ParameterGroup(tuple(copies))])
    load_state_tensors(again, saved)
    for _ in range(3):
        step(optimizer, ours)
        step(again, copies)
    assert all(torch.equal(one, other) for one, other in zip(ours, copies, strict=True))
    assert state_tensors(again).keys() == state_tensors(optimizer).keys()


@pytest.mark.parametrize("config", CONFIGS)
def test_carrying_goes_on_as_one_optimizer(config: OptimizerConfig) -> None:
    ours, copies = parameters(), parameters()
    optimizer, first = stepped(ours, config), stepped(copies, config)
    new = nn.Parameter(torch.ones(2))
    second = build_optimizer(config, [ParameterGroup((*copies, new))])
    carry_state(first, second)
    assert not any(bool(value.any()) for value in second.state.get(new, {}).values()), "zeros are the same as nothing"
    for _ in range(2):
        step(optimizer, ours)
        step(second, [*copies, new])
    assert all(torch.equal(one, other) for one, other in zip(ours, copies, strict=True))


def test_the_momentum_keeps_the_parameters_memory_format() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last))
    optimizer = stepped([weight], OptimizerConfig())
    again = build_optimizer(OptimizerConfig(), [ParameterGroup((weight,))])
    load_state_tensors(again, {name: tensor.contiguous() for name, tensor in state_tensors(optimizer).items()})
    assert again.state[weight]["momentum_buffer"].is_contiguous(memory_format=torch.channels_last)
