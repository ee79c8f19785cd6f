"""From a recipe to the run with every choice made: stage ends, weights, anchors, and the way back to a recipe."""

from collections.abc import Sequence
from typing import Any

import pytest

from smskd.anchors.l2_sp import L2SP
from smskd.anchors.reference_kl import ReferenceKL
from smskd.anchors.toward_reference import TowardReference
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.recipe import Recipe, parse, to_yaml
from smskd.recipe.yaml_text import load_yaml
from smskd.strategies.resolve import resolve, stage_ends
from smskd.strategies.resolved import ResolvedStage

VALIDATED = {"source": "digits", "validation": {"fraction": 0.1}}
PUBLISHED = ScheduleConfig().resolve(240)


def recipe(**keys: Any) -> Recipe:
    """A recipe for digits; its data have no validation split unless ``data`` is among the keys."""
    networks = {"teacher": "resnet14", "student": "resnet8_w2"}
    return parse({"data": {"source": "digits"}, **networks, **keys})


def stages_of(given: Recipe) -> tuple[ResolvedStage, ...]:
    return resolve(given).stages


def spans(stages: Sequence[ResolvedStage]) -> list[tuple[int, int]]:
    return [(stage.first, stage.last) for stage in stages]


class TestEnds:
    def test_the_second_stage_starts_at_the_first_decay(self) -> None:
        assert spans(stages_of(recipe(methods=["fitnet", "kd"]))) == [(1, 150), (151, 240)]

    def test_three_and_four_stages_change_at_the_decays(self) -> None:
        names = ["fitnet", "at", "kd", "sp"]
        assert spans(stages_of(recipe(methods=names[:3]))) == [(1, 150), (151, 180), (181, 240)]
        assert spans(stages_of(recipe(methods=names))) == [(1, 150), (151, 180), (181, 210), (211, 240)]

    def test_no_decay_is_left(self) -> None:
        with pytest.raises(UserError, match=r"^stages\.3: no learning-rate decay between epochs 211 and 240 ends it"):
            stages_of(recipe(methods=["fitnet", "at", "kd", "sp", "pkt"]))

    def test_a_decay_at_the_very_end_ends_no_stage(self) -> None:
        with pytest.raises(UserError, match="no learning-rate decay between epochs 1 and 150"):
            stage_ends([StageConfig(), StageConfig()], 150, PUBLISHED)

    def test_decays_in_any_order(self) -> None:
        schedule = ScheduleConfig(decay_at=(210, 150, 180))
        assert stage_ends([StageConfig()] * 3, 240, schedule) == [150, 180, 240]

    @pytest.mark.parametrize("name", ["cosine", "constant"])
    def test_without_steps_a_stage_needs_an_end(self, name: str) -> None:
        schedule = ScheduleConfig(name=name)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="give ends_after or epochs"):
            stage_ends([StageConfig(), StageConfig()], 240, schedule)
        assert stage_ends([StageConfig(ends_after=100), StageConfig()], 240, schedule) == [100, 240]

    @pytest.mark.parametrize(
        ("specs", "ends"),
        [
            ([StageConfig(ends_after=100), StageConfig()], [100, 240]),
            ([StageConfig(epochs=100), StageConfig()], [100, 240]),
            ([StageConfig(epochs=100), StageConfig(epochs=100)], [100, 200]),
            ([StageConfig(ends_after=240), StageConfig(epochs=90)], [240, 330]),
            ([StageConfig(epochs=10), StageConfig(), StageConfig(ends_after=160), StageConfig()], [10, 150, 160, 240]),
            ([StageConfig(ends_after=160), StageConfig(), StageConfig()], [160, 180, 240]),
            ([StageConfig(ends_after=300)], [300]),
            ([StageConfig()], [240]),
        ],
    )
    def test_ends_after_and_epochs(self, specs: list[StageConfig], ends: list[int]) -> None:
        assert stage_ends(specs, 240, PUBLISHED) == ends

    @pytest.mark.parametrize(
        ("specs", "message"),
        [
            (
                [StageConfig(ends_after=100), StageConfig(ends_after=100)],
                r"^stages\.1\.ends_after: stage 2 ends after epoch 100, before",
            ),
            ([StageConfig(ends_after=100), StageConfig(ends_after=50)], r"before it begins \(epoch 101\)"),
            (
                [StageConfig(epochs=240), StageConfig()],
                r"^stages\.1: stage 2 ends after epoch 240.*training\.epochs is 240",
            ),
            ([StageConfig(ends_after=1, epochs=1)], r"^stages\.0: give either ends_after or epochs, not both"),
        ],
    )
    def test_mistakes(self, specs: list[StageConfig], message: str) -> None:
        with pytest.raises(UserError, match=message):
            stage_ends(specs, 240, PUBLISHED)


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


class TestShares:
    def test_of_a_schedule_and_of_stages_are_resolved_to_epochs(self) -> None:
        stages = [{"methods": ["at"], "ends_after": "1/2"}, {"methods": ["kd"]}]
        full = resolve(recipe(training={"epochs": 30}, schedule={"decay_at": ["1/3", "2/3", 25]}, stages=stages))
        assert full.schedule.decay_at == (10, 20, 25)
        assert spans(full.stages) == [(1, 15), (16, 30)]
        assert full.epochs == 30

    def test_of_a_stage_with_a_schedule_of_its_own_count_within_it(self) -> None:
        stages = [{"ends_after": 10}, {"schedule": {"decay_at": ["1/2"]}}]
        assert stages_of(recipe(training={"epochs": 30}, stages=stages))[1].schedule == ScheduleConfig(decay_at=(10,))

    def test_the_default_decays_follow_the_epochs(self) -> None:
        assert resolve(recipe(training={"epochs": 24})).schedule.decay_at == (15, 18, 21)
        assert spans(stages_of(recipe(training={"epochs": 24}, methods=["fitnet", "kd"]))) == [(1, 15), (16, 24)]

    def test_shares_that_round_to_nothing_or_to_one_epoch_are_dropped(self) -> None:
        assert resolve(recipe(training={"epochs": 1})).schedule.decay_at == (1,)
        assert resolve(recipe(training={"epochs": 2}, schedule={"decay_at": ["1/8"]})).schedule.decay_at == ()
