"""From recipes to stages: where each ends, what it is held by, what it weighs."""

from collections.abc import Sequence
from typing import Any

import pytest

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import Stage
from smskd.errors import UserError
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.recipe import Recipe, ScheduleSpec, StageSpec, parse
from smskd.recipe.read import load_yaml, to_yaml
from smskd.strategies.resolve import plan, resolved, stage_ends

PUBLISHED = ScheduleSpec()


def recipe(**keys: Any) -> Recipe:
    return parse({"data": "digits", "teacher": "resnet14", "student": "resnet8_w2", **keys})


def spans(stages: Sequence[Stage]) -> list[tuple[int, int]]:
    return [(stage.first, stage.last) for stage in stages]


class TestEnds:
    def test_the_second_stage_starts_at_the_first_decay(self) -> None:
        assert spans(plan(recipe(methods=["fitnet", "kd"]))) == [(1, 150), (151, 240)]

    def test_three_and_four_stages_change_at_the_decays(self) -> None:
        names = ["fitnet", "at", "kd", "sp"]
        assert spans(plan(recipe(methods=names[:3]))) == [(1, 150), (151, 180), (181, 240)]
        assert spans(plan(recipe(methods=names))) == [(1, 150), (151, 180), (181, 210), (211, 240)]

    def test_no_decay_is_left(self) -> None:
        with pytest.raises(UserError, match=r"^stages\.3: no learning-rate decay between epochs 211 and 240 ends it"):
            plan(recipe(methods=["fitnet", "at", "kd", "sp", "pkt"]))

    def test_a_decay_at_the_very_end_ends_no_stage(self) -> None:
        with pytest.raises(UserError, match="no learning-rate decay between epochs 1 and 150"):
            stage_ends([StageSpec(), StageSpec()], 150, PUBLISHED)

    def test_decays_in_any_order(self) -> None:
        schedule = ScheduleSpec(decay_epochs=(210, 150, 180))
        assert stage_ends([StageSpec()] * 3, 240, schedule) == [150, 180, 240]

    @pytest.mark.parametrize("name", ["cosine", "constant"])
    def test_without_steps_a_stage_needs_an_end(self, name: str) -> None:
        schedule = ScheduleSpec(name=name)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="give until or epochs"):
            stage_ends([StageSpec(), StageSpec()], 240, schedule)
        assert stage_ends([StageSpec(until=100), StageSpec()], 240, schedule) == [100, 240]

    @pytest.mark.parametrize(
        ("specs", "ends"),
        [
            ([StageSpec(until=100), StageSpec()], [100, 240]),
            ([StageSpec(epochs=100), StageSpec()], [100, 240]),
            ([StageSpec(epochs=100), StageSpec(epochs=100)], [100, 200]),
            ([StageSpec(until=240), StageSpec(epochs=90)], [240, 330]),
            ([StageSpec(epochs=10), StageSpec(), StageSpec(until=160), StageSpec()], [10, 150, 160, 240]),
            ([StageSpec(until=160), StageSpec(), StageSpec()], [160, 180, 240]),
            ([StageSpec(until=300)], [300]),
            ([StageSpec()], [240]),
        ],
    )
    def test_until_and_epochs(self, specs: list[StageSpec], ends: list[int]) -> None:
        assert stage_ends(specs, 240, PUBLISHED) == ends

    @pytest.mark.parametrize(
        ("specs", "message"),
        [
            (
                [StageSpec(until=100), StageSpec(until=100)],
                r"^stages\.1\.until: stage 2 ends after epoch 100, before",
            ),
            ([StageSpec(until=100), StageSpec(until=50)], r"before it begins \(epoch 101\)"),
            (
                [StageSpec(epochs=240), StageSpec()],
                r"^stages\.1: stage 2 ends after epoch 240.*epochs are 240",
            ),
            ([StageSpec(until=1, epochs=1)], r"^stages\.0: give either until or epochs, not both"),
        ],
    )
    def test_mistakes(self, specs: list[StageSpec], message: str) -> None:
        with pytest.raises(UserError, match=message):
            stage_ends(specs, 240, PUBLISHED)


class TestStages:
    def test_one_method_a_stage(self) -> None:
        first, second = plan(recipe(methods=["fitnet", "kd"]))
        assert (first.names, second.names) == (("fitnet",), ("kd",))
        assert [item.method for item in (*first.methods, *second.methods)] == [FitNet(), KD()]
        assert (first.ce_weight, second.ce_weight) == (1.0, 0.1)
        assert (first.methods[0].weight, second.methods[0].weight) == (100.0, 0.9)

    def test_joint_is_one_stage(self) -> None:
        (stage,) = plan(recipe(methods=["fitnet", "kd"], strategy="joint"))
        assert stage.names == ("fitnet", "kd")
        assert spans([stage]) == [(1, 240)]
        assert stage.ce_weight == 1.0
        assert stage.anchor is None

    def test_joint_with_one_method_is_sequential_with_it(self) -> None:
        assert plan(recipe(methods=["kd"], strategy="joint")) == plan(recipe(methods=["kd"]))

    @pytest.mark.parametrize("keys", [{}, {"methods": []}, {"methods": [], "strategy": "joint"}, {"stages": []}])
    def test_no_method_is_plain_training(self, keys: dict[str, Any]) -> None:
        (stage,) = plan(recipe(**keys))
        assert (stage.methods, stage.ce_weight, stage.anchor) == ((), 1.0, None)
        assert spans([stage]) == [(1, 240)]
        assert not stage.needs_teacher

    def test_given_weights_and_hyper_parameters(self) -> None:
        keys = {"methods": [{"name": "kd", "weight": 0.5, "temperature": 2}], "ce_weight": 0.7}
        (stage,) = plan(recipe(stages=[keys]))
        assert (stage.methods[0].weight, stage.methods[0].method, stage.ce_weight) == (
            0.5,
            KD(temperature=2),
            0.7,
        )

    def test_the_same_method_twice(self) -> None:
        (stage,) = plan(recipe(methods=["kd", "kd"], strategy="joint"))
        assert stage.names == ("kd", "kd-2")

    def test_choices_of_a_stage(self) -> None:
        keys = {"optimizer": "reset", "carry": "best", "reference": "average", "ema_decay": 0.9}
        own = {"decay_epochs": [3], "learning_rate": 0.2}
        first, second = plan(recipe(stages=[{"methods": ["kd"], "schedule": own, "until": 20, **keys}, {}]))
        assert (first.optimizer, first.carry, first.reference, first.ema_decay) == (
            "reset",
            "best",
            "average",
            0.9,
        )
        assert first.schedule == ScheduleSpec(decay_epochs=(3,), learning_rate=0.2)
        assert (second.optimizer, second.carry, second.reference, second.schedule) == (
            "keep",
            "last",
            "last",
            None,
        )
        assert first.keeps("best")
        assert first.keeps("average")
        assert not second.keeps("best")
        assert second.epochs == 220

    def test_a_method_needs_a_teacher(self) -> None:
        with pytest.raises(UserError, match=r"teacher: kd \(stage 2\) reads a teacher"):
            plan(recipe(teacher=None, stages=[{"until": 9}, {"methods": ["kd"]}]))
        with pytest.raises(UserError, match=r"teacher: the anchor \(stage 2\) reads a teacher"):
            plan(recipe(teacher=None, stages=[{"until": 9}, {"anchor": {"source": "teacher"}}]))
        plan(recipe(teacher=None, stages=[{"until": 9}, {}]))

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
            ({"methods": ["kd"], "anchor": "tru_class"}, r"anchor: 'tru_class' is not an anchor"),
            ({"methods": ["kd"], "anchor": {"form": "probabilty"}}, r"anchor\.form"),
        ],
    )
    def test_mistakes_are_told_with_their_place(self, keys: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            plan(recipe(**keys))


class TestAnchors:
    def anchors(self, **keys: Any) -> list[object]:
        return [stage.anchor for stage in plan(recipe(**keys))]

    def test_from_the_second_stage_on(self) -> None:
        assert self.anchors(methods=["fitnet", "at", "kd"]) == [None, ReferenceKL(), ReferenceKL()]

    def test_none(self) -> None:
        assert self.anchors(methods=["fitnet", "kd"], anchor=None) == [None, None]

    def test_with_other_values(self) -> None:
        found = self.anchors(methods=["fitnet", "kd"], anchor={"weight": 0.3, "form": "uniform"})
        assert found == [None, ReferenceKL(weight=0.3, form="uniform")]

    def test_a_stage_changes_single_values_or_goes_without(self) -> None:
        stages = [
            {"methods": ["fitnet"], "anchor": {"weight": 0.9}},
            {"methods": ["at"], "anchor": {"direction": "reverse"}},
            {"methods": ["kd"], "anchor": None},
            {"methods": ["sp"]},
        ]
        found = self.anchors(stages=stages, anchor={"weight": 0.3})
        assert found == [None, ReferenceKL(weight=0.3, direction="reverse"), None, ReferenceKL(weight=0.3)]


@pytest.mark.parametrize(
    "keys",
    [
        {"methods": ["fitnet", {"name": "kd", "temperature": 2}]},
        {"methods": ["kd", "kd", "at"], "strategy": "joint"},
        {"methods": ["fitnet", "rkd"], "anchor": {"form": "auto", "weight": 0.3}},
        {"methods": ["fitnet", "kd"], "anchor": None},
        {"methods": []},
        {
            "stages": [
                {
                    "methods": ["kd"],
                    "epochs": 7,
                    "carry": "best",
                    "schedule": {"name": "cosine", "warmup_epochs": 2},
                },
                {
                    "methods": ["crd", "kd"],
                    "optimizer": "reset",
                    "anchor": {"source": "teacher"},
                    "until": 50,
                },
                {"ce_weight": 0.5, "reference": "average", "ema_decay": 0.9, "anchor": None},
            ]
        },
    ],
)
def test_the_resolved_recipe_means_the_same(keys: dict[str, Any]) -> None:
    """Also once it was written as YAML and read again."""
    given = recipe(**keys)
    full = resolved(given)
    again = parse(load_yaml(to_yaml(full), "text"))
    assert plan(full) == plan(given)
    assert plan(again) == plan(given)
    assert resolved(again) == again
    assert full.stages is not None
    assert all(spec.until is not None and spec.ce_weight is not None for spec in full.stages)
