"""From a recipe to the run with every choice made: stage ends, weights, anchors, and the way back to a recipe."""

from typing import Any

import pytest

from smskd.anchors.l2_sp import L2SP
from smskd.anchors.reference_kl import ReferenceKL
from smskd.anchors.toward_reference import TowardReference
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.errors import UserError
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.recipe import parse, to_yaml
from smskd.recipe.yaml_text import load_yaml
from smskd.strategies.resolve import resolve
from tests.support.recipes import recipe, spans, stages_of

VALIDATED = {"source": "digits", "validation": {"fraction": 0.1}}
PUBLISHED = ScheduleConfig().resolve(240)


class TestStages:
    def test_one_method_per_stage(self) -> None:
        first, second = stages_of(recipe(methods=["fitnet", "kd"]))
        assert (first.names, second.names) == (("fitnet",), ("kd",))
        assert [item.method for item in (*first.methods, *second.methods)] == [FitNet(), KD()]
        assert (first.ce_weight, second.ce_weight) == (1.0, 0.1)
        assert (first.methods[0].weight, second.methods[0].weight) == (100.0, 0.9)

    def test_joint_is_one_stage(self) -> None:
        (stage,) = stages_of(recipe(methods=["fitnet", "kd"], strategy="joint"))
        assert stage.names == ("fitnet", "kd")
        assert spans([stage]) == [(1, 240)]
        assert stage.ce_weight == 1.0
        assert stage.anchor is None

    def test_joint_with_one_method_is_sequential_with_it(self) -> None:
        assert stages_of(recipe(methods=["kd"], strategy="joint")) == stages_of(recipe(methods=["kd"]))

    @pytest.mark.parametrize("keys", [{}, {"methods": []}, {"methods": [], "strategy": "joint"}, {"stages": []}])
    def test_no_method_is_plain_training(self, keys: dict[str, Any]) -> None:
        (stage,) = stages_of(recipe(**keys))
        assert (stage.methods, stage.ce_weight, stage.anchor) == ((), 1.0, None)
        assert spans([stage]) == [(1, 240)]

    def test_given_weights_and_hyper_parameters(self) -> None:
        keys = {"methods": [{"name": "kd", "weight": 0.5, "temperature": 2}], "ce_weight": 0.7}
        (stage,) = stages_of(recipe(stages=[keys]))
        assert (stage.methods[0].weight, stage.methods[0].method, stage.ce_weight) == (
            0.5,
            KD(temperature=2),
            0.7,
        )

    def test_the_same_method_twice(self) -> None:
        (stage,) = stages_of(recipe(methods=["kd", "kd"], strategy="joint"))
        assert stage.names == ("kd", "kd-2")

    def test_choices_of_a_stage(self) -> None:
        keys = {"optimizer_state": "reset", "carry": "best", "reference": "ema", "ema_decay": 0.9}
        own = {
            "schedule": {"decay_at": [3], "learning_rate": 0.2},
            "optimizer": {"name": "adamw", "learning_rate": 0.001},
            "batch_size": 32,
            "teacher": {"name": "resnet20"},
        }
        stages = [{"methods": ["kd"], "ends_after": 20, **keys, **own}, {}]
        first, second = stages_of(recipe(data=VALIDATED, stages=stages))
        assert (first.optimizer_state, first.carry, first.reference, first.ema_decay) == ("reset", "best", "ema", 0.9)
        assert first.schedule == ScheduleConfig(decay_at=(3,), learning_rate=0.2)
        assert (first.optimizer.name, first.optimizer.learning_rate, first.batch_size) == ("adamw", 0.001, 32)
        assert first.teacher is not None
        assert first.teacher.name == "resnet20"
        assert (second.optimizer_state, second.carry, second.reference, second.schedule) == (
            "keep",
            "last",
            "last",
            None,
        )
        assert (second.optimizer, second.batch_size) == (OptimizerConfig(), 64)
        assert second.teacher is not None
        assert second.teacher.name == "resnet14"
        assert first.keeps("best")
        assert first.keeps("ema")
        assert not second.keeps("best")
        assert second.epochs == 220

    def test_a_method_needs_a_teacher(self) -> None:
        with pytest.raises(UserError, match=r"^teacher: kd \(stage 2\) needs a teacher"):
            resolve(recipe(teacher=None, stages=[{"ends_after": 9}, {"methods": ["kd"]}]))
        resolve(recipe(teacher=None, stages=[{"ends_after": 9}, {}]))
        resolve(recipe(teacher=None, stages=[{"ends_after": 9}, {"methods": ["kd"], "teacher": "resnet14"}]))

    @pytest.mark.parametrize("key", ["carry", "reference"])
    def test_best_needs_a_validation_split(self, key: str) -> None:
        stages = [{"methods": ["fitnet"], "ends_after": 9}, {"methods": ["kd"], key: "best"}]
        with pytest.raises(
            UserError, match=rf"^stages\.1\.{key}: best is selected on a validation split and there is"
        ) as caught:
            resolve(recipe(stages=stages))
        assert "\n" not in str(caught.value)
        (_, second) = stages_of(recipe(data=VALIDATED, stages=stages))
        assert second.keeps("best")

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"methods": ["fitnet", "kdd"]}, r"^methods\.1: unknown method 'kdd'; did you mean 'kd'"),
            (
                {"methods": [{"name": "kd", "temprature": 4}]},
                r"^methods\.0\.temprature: .*did you mean 'temperature'",
            ),
            (
                {"methods": [{"name": "kd", "temperature": -4}]},
                r"^methods\.0: temperature must be positive, not -4",
            ),
            (
                {"stages": [{"methods": [{"name": "kd", "temperature": "hot"}]}]},
                r"^stages\.0\.methods\.0\.temperature",
            ),
            ({"methods": ["kd"], "anchor": "reference_lk"}, r"^anchor: unknown anchor 'reference_lk'; did you mean"),
            ({"methods": ["kd"], "anchor": {"tcp": "probabilty"}}, r"^anchor\.tcp"),
            ({"methods": ["kd"], "strategy": "sequentia"}, r"^strategy: unknown strategy .* did you mean 'sequential'"),
            (
                {"methods": [{"name": "kd", "weight": -1}]},
                r"^methods\.0\.weight: must be a number of 0 or more, not -1",
            ),
            ({"stages": [{"methods": ["at", {"name": "kd", "weight": True}]}]}, r"^stages\.0\.methods\.1\.weight"),
        ],
    )
    def test_errors_name_the_key(self, keys: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            stages_of(recipe(**keys))


class TestAnchors:
    def anchors(self, **keys: Any) -> list[object]:
        return [stage.anchor for stage in stages_of(recipe(**keys))]

    def test_from_the_second_stage_on(self) -> None:
        assert self.anchors(methods=["fitnet", "at", "kd"]) == [None, ReferenceKL(), ReferenceKL()]

    def test_none(self) -> None:
        assert self.anchors(methods=["fitnet", "kd"], anchor=None) == [None, None]

    def test_with_other_values(self) -> None:
        found = self.anchors(methods=["fitnet", "kd"], anchor={"weight": 0.3, "tcp": "none"})
        assert found == [None, ReferenceKL(weight=0.3, tcp="none")]

    def test_a_stage_changes_single_values_or_has_none(self) -> None:
        stages = [
            {"methods": ["fitnet"]},
            {"methods": ["at"], "anchor": {"kl": "reverse"}},
            {"methods": ["kd"], "anchor": None},
            {"methods": ["sp"]},
        ]
        found = self.anchors(stages=stages, anchor={"weight": 0.3})
        assert found == [None, ReferenceKL(weight=0.3, kl="reverse"), None, ReferenceKL(weight=0.3)]

    def test_auto_is_resolved_by_the_kinds_of_the_methods(self) -> None:
        found = self.anchors(methods=["fitnet", "rkd", "kd"], anchor={"tcp": "auto"})
        assert found == [None, ReferenceKL(tcp="none"), ReferenceKL(tcp="probability")]

    def test_one_that_needs_a_previous_stage_is_refused_where_given_for_the_first(self) -> None:
        stages = [{"methods": ["fitnet"], "anchor": {"name": "reference_kl"}}, {"methods": ["kd"]}]
        with pytest.raises(UserError, match=r"^stages\.0\.anchor: reference_kl needs the student of a previous stage"):
            resolve(recipe(stages=stages))

    def test_one_that_can_refer_to_the_initial_weights_acts_in_the_first(self) -> None:
        assert self.anchors(methods=["fitnet", "kd"], anchor="l2_sp") == [L2SP(), L2SP()]
        stages = [{"methods": ["fitnet"], "anchor": "l2_sp"}, {"methods": ["kd"]}]
        assert self.anchors(stages=stages) == [L2SP(), ReferenceKL()]

    def test_toward_reference(self) -> None:
        anchor = {"name": "toward_reference", "weight": 2, "method": {"name": "fitnet", "hint_layer": 3}}
        assert self.anchors(methods=["at", "kd"], anchor=anchor) == [None, TowardReference(2.0, FitNet(hint_layer=3))]


@pytest.mark.parametrize(
    "keys",
    [
        {"methods": ["fitnet", {"name": "kd", "temperature": 2}]},
        {"methods": ["kd", "kd", "at"], "strategy": "joint"},
        {"methods": ["fitnet", "rkd"], "anchor": {"tcp": "auto", "weight": 0.3}},
        {"methods": ["fitnet", "kd"], "anchor": None},
        {"methods": []},
        {
            "methods": ["at", "kd"],
            "anchor": {"name": "toward_reference", "method": {"name": "fitnet", "hint_layer": 3}},
        },
        {"methods": ["at", "kd"], "anchor": {"name": "l2_sp", "exclude": ["fc"]}, "schedule": {"name": "step"}},
        {"methods": ["at", "kd"], "training": {"epochs": 30}, "schedule": {"decay_at": ["1/3", "2/3"]}},
        {
            "data": VALIDATED,
            "stages": [
                {
                    "methods": ["kd"],
                    "epochs": 7,
                    "carry": "best",
                    "schedule": {"name": "cosine", "warmup_epochs": 2},
                    "optimizer": {"name": "adamw"},
                    "batch_size": 32,
                    "teacher": {"name": "resnet20", "cache": {"mode": "memory"}},
                },
                {
                    "methods": ["crd", "kd"],
                    "optimizer_state": "reset",
                    "anchor": {"tcp_from": "teacher"},
                    "ends_after": "1/4",
                },
                {"ce_weight": 0.5, "reference": "ema", "ema_decay": 0.9, "anchor": None},
            ],
        },
    ],
)
def test_the_mapping_of_a_resolved_recipe_resolves_to_it(keys: dict[str, Any]) -> None:
    """Also once it was written as YAML and read again; nothing is left open in it."""
    full = resolve(recipe(**keys))
    again = parse(load_yaml(to_yaml(full.as_mapping()), "text"))
    assert resolve(again) == full
    assert resolve(again).as_mapping() == full.as_mapping()
    assert again.stages is not None
    for stage in again.stages:
        assert isinstance(stage.ends_after, int)
        assert stage.ce_weight is not None
        assert not stage.inherits_anchor
