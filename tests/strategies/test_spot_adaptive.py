"""Spot-adaptive distillation as a strategy: defaults and the objective."""

from pathlib import Path
from typing import Any

import pytest
import torch

import smskd
from smskd import StageConfig
from smskd.config.base import ComponentConfig
from smskd.interfaces.features import LOGITS
from smskd.methods.at import AT
from smskd.methods.cc import CC
from smskd.methods.fitnet import FitNet
from smskd.methods.ft import FT
from smskd.methods.kd import KD
from smskd.methods.rkd import RKD
from smskd.models.frozen import Frozen
from smskd.strategies.resolve import resolve
from smskd.strategies.spot_adaptive import SpotAdaptive
from tests.support import tiny
from tests.support.golden_spots import with_outputs
from tests.support.spots import Cut, batch, begun, of_methods


class TestDefaults:
    def test_weights_are_those_of_the_published_experiments(self) -> None:
        found = resolve(of_methods("fitnet", "at", "kd")).stages[0]
        assert [item.weight for item in found.methods] == [1.0, 1000.0, 1.0]
        assert found.ce_weight == 1.0
        assert resolve(of_methods("kd", strategy=SpotAdaptive(kd_weight=0.3))).stages[0].methods[0].weight == 0.3

    def test_a_weight_that_is_given_stays(self) -> None:
        given_one = ComponentConfig("fitnet", {"weight": 7.0})
        assert resolve(of_methods(given_one)).stages[0].methods[0].weight == 7.0

    def test_another_strategy_keeps_its_own(self) -> None:
        found = resolve(tiny.recipe([(StageConfig(), ["fitnet"])], epochs=1)).stages[0]
        assert found.methods[0].weight == 100.0

    @pytest.mark.parametrize(("method", "gamma"), [(AT(), 2.0), (FitNet(), 1.0)])
    def test_gamma(self, method: Any, gamma: float) -> None:
        assert begun(of_methods(method))[1].settings.graft_weight == gamma
        wanted = of_methods(method, strategy=SpotAdaptive("random"))
        assert resolve(wanted).stages[0].ce_weight == gamma
        assert begun(of_methods(method, strategy=SpotAdaptive(graft_weight=3.0)))[1].settings.graft_weight == 3.0

    def test_policy_and_regressors_have_optimizer_settings_of_their_own(self) -> None:
        state, objective = begun(of_methods("fitnet"))
        student, agent = state.step.optimizer.param_groups
        assert (student["lr"], agent["lr"]) == (0.05, 0.025)
        assert (student["weight_decay"], agent["weight_decay"]) == (5e-4, 1e-3)
        assert set(map(id, agent["params"])) == set(map(id, objective.agent.parameters()))

    @pytest.mark.parametrize(
        ("start", "teacher", "raised"),
        [("auto", "resnet8_w2", True), ("auto", "resnet8_w4", False), ("teacher", "resnet8_w4", True)],
    )
    def test_the_policy_begins_with_the_teacher(self, start: Any, teacher: str, raised: bool) -> None:
        wanted = of_methods("fitnet", strategy=SpotAdaptive(start=start))
        _, objective = begun(wanted, source=tiny.student(3, teacher))
        bias = objective.agent["policy"].net.bias  # type: ignore[union-attr]
        assert bool((bias[::2] > 9).all()) == raised  # type: ignore[index]
        assert bool((bias[1::2].abs() < 1).all())  # type: ignore[index]


class TestObjective:
    def test_parts(self) -> None:
        assert list(begun(of_methods("fitnet"))[1](batch()).parts) == [
            *("ce", "fitnet", "kd", "policy.graft", "policy.half")
        ]
        own = begun(of_methods(FitNet(), KD(2.0)))[1]
        assert list(own(batch()).parts) == ["ce", "fitnet", "kd", "policy.graft", "policy.half"]
        assert len(own.gated) == 2

    def test_the_policy_trains_neither_network_and_the_student_not_the_policy(self) -> None:
        state, objective = begun(of_methods(FitNet(), "rkd", "at"))
        teacher = state.config.teachers[0]
        assert teacher is not None
        before = tiny.bits(teacher)
        parts = objective(batch()).parts
        of_agent = parts["policy.graft"] + parts["policy.half"]
        (of_agent * 1).backward(retain_graph=True)
        assert all(parameter.grad is None for parameter in state.student.parameters())
        assert all(parameter.grad is not None for parameter in objective.agent.parameters())
        objective.zero_grad()
        (torch.stack(list(parts.values())).sum() - of_agent).backward()
        assert all(parameter.grad is not None for parameter in state.student.parameters())
        gradients = [parameter.grad for parameter in objective.agent.parameters() if parameter.grad is not None]
        assert all(bool((gradient == 0).all()) for gradient in gradients)
        assert tiny.same(tiny.bits(teacher), before)
        assert state.student.training
        assert all(parameter.requires_grad for parameter in state.student.parameters())

    @pytest.mark.parametrize("chosen", [0, 1])
    @pytest.mark.parametrize("method", [RKD(), CC(8), FT(init_epochs=0), "sp", "pkt", tiny.SMALL_CRD], ids=str)
    def test_few_chosen_samples_give_finite_losses(self, method: Any, chosen: int) -> None:
        _, objective = begun(of_methods(method))
        item = with_outputs(objective, batch())
        student = {tap: objective.student.extract(item.x, (tap.name,))[tap.name] for tap in objective._student_taps}
        taken = torch.zeros(len(item.y), 2, dtype=torch.bool)
        taken[:chosen] = True
        parts = objective.gated_losses(item, student, taken)
        torch.stack(list(parts.values())).sum().backward()
        assert all(bool(part.isfinite()) for part in parts.values())
        gradients = [weight.grad for weight in objective.student.parameters() if weight.grad is not None]
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)

    def test_random_numbers_are_drawn_anew(self) -> None:
        _, objective = begun(of_methods("kd", strategy=SpotAdaptive("random")))
        drawn = [objective.decide(with_outputs(objective, batch()), self.logits()).chosen for _ in range(2)]
        assert not torch.equal(*drawn)
        assert 0 < int(drawn[0].sum()) < drawn[0].numel()

    @staticmethod
    def logits() -> Any:
        return {smskd.Tap(LOGITS): torch.zeros(tiny.BATCH, tiny.CLASSES)}

    def test_spots_lie_from_the_images_to_the_logits(self) -> None:
        _, objective = begun(of_methods("rkd", "at", FitNet()))
        assert [spot.student for spot in objective.spots] == ["stage1", "stage2", "stage3", "pooled"]
        assert [term.decisions for term in objective.gated] == [(3,), (0, 1, 2), (1,), (4,)]

    def test_a_network_of_a_users_own_that_can_be_entered(self, tmp_path: Path) -> None:
        torch.manual_seed(1)
        reports = tiny.trained(tiny.built(of_methods("at"), learner=Cut(), source=Cut()), tmp_path)
        assert reports[0].losses["policy.graft"] > 0


def test_without_methods_it_is_plain_training(tmp_path: Path) -> None:
    reports = tiny.trained(tiny.built(of_methods()), tmp_path)
    assert list(reports[0].losses) == ["total", "ce"]


def test_gradients_pass_through_a_frozen_network_to_its_input() -> None:
    frozen = Frozen(tiny.teacher(), tiny.EXAMPLE)
    feature = torch.randn(2, 8, 4, 4, requires_grad=True)
    frozen.continue_from("stage2", feature, (LOGITS,))[LOGITS].square().sum().backward()
    assert feature.grad is not None
    assert bool((feature.grad != 0).any())
