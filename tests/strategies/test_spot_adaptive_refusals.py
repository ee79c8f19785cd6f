"""Spot-adaptive distillation as a strategy: what it refuses."""

from typing import Any

import pytest
from torch import nn

import smskd
from smskd.errors import UserError
from smskd.methods.fitnet import FitNet
from smskd.strategies.spot_adaptive import SpotAdaptive
from tests.support import tiny
from tests.support.spots import Cut, begun, of_methods


class TestRefusal:
    def refused(self, match: str, *methods: Any, strategy: SpotAdaptive | None = None, **networks: Any) -> None:
        with pytest.raises(UserError, match=match):
            begun(of_methods(*methods, strategy=strategy), **networks)

    def test_of_a_method_without_a_gate(self) -> None:
        self.refused("has no gate for dkd; choose from kd, fitnet, at", "dkd")

    def test_of_a_network_that_cannot_be_entered(self) -> None:
        self.refused("runs the student from its feature 'stage2' on, which Sequential", FitNet(2), learner=self.own())
        self.refused("runs the teacher from its feature 'stage2' on, which Sequential", FitNet(2), source=self.own())

    def test_but_not_where_it_need_not_be(self) -> None:
        begun(of_methods("kd"), learner=self.own())
        begun(of_methods("fitnet", strategy=SpotAdaptive("random")), learner=self.own())

    def test_of_a_network_that_continues_wrongly(self) -> None:
        self.refused(
            "continued from its own feature 'stage1', the teacher .Cut. gives other logits", "at", source=Cut(2)
        )

    def test_of_methods_between_which_the_networks_cannot_be_cut(self) -> None:
        teacher = tiny.teacher()
        parts = smskd.build_objective(tiny.student(), teacher, methods=["fitnet", "sp"], example=tiny.EXAMPLE)
        from smskd.objective.spots.spot import Spot, ordered

        layouts = parts.models.student_layout, parts.models.teacher_layout
        assert layouts[1] is not None
        with pytest.raises(UserError, match="between which the networks cannot be cut"):
            ordered([Spot("stage1", "stage3"), Spot("stage2", "stage2")], layouts[0], layouts[1])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"decisions": "rand"}, "unknown decisions 'rand'; did you mean 'random'"),
            ({"start": "x"}, "unknown start 'x'"),
            ({"temperature": 0.0}, "temperature must be"),
            ({"graft_weight": 0.0}, "graft_weight must be"),
            ({"kd_weight": -1.0}, "kd_weight must be"),
        ],
    )
    def test_of_options(self, options: Any, message: str) -> None:
        with pytest.raises(UserError, match=message):
            SpotAdaptive(**options)

    def own(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, tiny.CLASSES),
        )
