"""`smskd.distill`: any pair of networks, any map-style data."""

from typing import Any

import pytest
import torch

from smskd import LoaderConfig, OptimizerConfig, ReferenceKL, ScheduleConfig, StageConfig, UserError
from smskd import session as training
from smskd.config.base import ComponentConfig
from smskd.data import Augmentation
from smskd.interfaces.terms import WeightedMethod
from smskd.methods.crd import CRD
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.report.page import Page
from tests.support import tiny
from tests.support.own_data import TorchvisionLike, distilled, floats, network


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts of the page take more time than the runs."""
    monkeypatch.setattr(training, "write_run_report", Page)


class TestAnyNetworks:
    def test_the_student_is_trained_in_place(self) -> None:
        student, teacher = network(2, seed=1), network(4, seed=2)
        before, source = tiny.bits(student), tiny.bits(teacher)
        result = distilled(made=student, teacher=teacher)
        assert result.student is student
        assert not student.training
        assert not tiny.same(tiny.bits(student), before)
        assert tiny.same(tiny.bits(teacher), source)
        assert result.path is None
        assert result.summary["student"]["model"] == "Sequential"
        assert result.summary["student"]["parameters"] == sum(p.numel() for p in student.parameters())
        assert [stage["methods"] for stage in result.summary["stages"]] == [["fitnet"], ["kd"]]
        assert [stage["epochs"] for stage in result.summary["stages"]] == [[1, 2], [3, 4]]
        with torch.no_grad():
            logits = student(torch.stack([image for image, _ in floats("test")]))
        right = logits.argmax(1) == torch.tensor([label for _, label in floats("test")])
        assert result.summary["student"]["top1"] == pytest.approx(100 * float(right.float().mean()))

    def test_it_learns(self) -> None:
        """A wider network classifies the digits it was trained on."""
        seen = floats("train")
        result = distilled(
            made=network(8, seed=1),
            teacher=None,
            stages=[],
            test=seen,
            epochs=25,
            optimizer=OptimizerConfig(name="adamw", learning_rate=0.02),
            schedule=ScheduleConfig(name="cosine"),
        )
        assert result.summary["teacher"] is None
        assert result.summary["student"]["top1"] > 60

    def test_plain_training_needs_no_teacher(self) -> None:
        assert distilled(teacher=None, stages=[[]], epochs=1).summary["stages"][0]["methods"] == []

    def test_zoo_and_foreign_together(self) -> None:
        assert distilled(made=tiny.student(), stages=["kd"], epochs=1).summary["student"]["model"] == "ResNet"


class TestAnyData:
    def test_pil_images_are_the_images_in_memory(self) -> None:
        augmentation = Augmentation(mean=(0.3,), std=(0.4,), padding=1, flip=False)
        weights = []
        for train, test in (
            (tiny.digits().train, tiny.digits().test),
            (TorchvisionLike("train"), TorchvisionLike("test")),
        ):
            student = network(2, seed=1)
            distilled(made=student, train=train, test=test, augmentation=augmentation)
            weights.append(tiny.bits(student))
        assert tiny.same(*weights)

    def test_crd_takes_the_labels_of_targets_and_reads_those_that_are_not_listed(self) -> None:
        stages = [CRD(negatives=9, feature_dim=4)]
        listed = {"train": TorchvisionLike("train"), "test": TorchvisionLike("test")}
        students = [network(2, seed=1), network(2, seed=1)]
        for student, given in zip(students, ({}, listed), strict=True):
            distilled(made=student, stages=stages, epochs=1, **given)
        assert all(weight.isfinite().all() for student in students for weight in student.parameters())

    def test_workers_change_nothing(self) -> None:
        students = [network(2, seed=1), network(2, seed=1)]
        for workers, student in enumerate(students):
            distilled(made=student, loader=LoaderConfig(workers=workers), epochs=1, stages=["kd"])
        assert tiny.same(*map(tiny.bits, students))

    def test_a_label_out_of_range(self) -> None:
        broken = [*floats("train")[:-1], (floats("train")[-1][0], 10)]
        with pytest.raises(UserError, match="sample 59: the label is 10; with 10 classes"):
            distilled(train=broken)

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_more_classes_than_the_student_has(self, part: str) -> None:
        with pytest.raises(UserError, match="the images have 10 classes, the student 7 output classes"):
            distilled(
                made=network(2, 1, classes=7),
                teacher=network(4, 2, classes=7),
                **{
                    "train": tiny.digits().train,
                    "test": tiny.digits().test,
                    part: getattr(tiny.digits(), part),
                },
            )


class TestStages:
    @pytest.mark.parametrize(
        "stages",
        [
            ["fitnet", "kd"],
            [FitNet(), KD()],
            [["fitnet"], [KD()]],
            [WeightedMethod("fitnet", FitNet(), 100.0), ["kd"]],
            [StageConfig(methods=(ComponentConfig("fitnet", {}),)), "kd"],
            [
                StageConfig(methods=(ComponentConfig("fitnet", {"weight": 100.0, "hint_layer": 2}),), ends_after=2),
                StageConfig(methods=("kd",), ce_weight=0.1, epochs=2),
            ],
        ],
        ids=["names", "objects", "lists", "weighted", "spec", "specs"],
    )
    def test_all_forms_of_a_stage_are_the_same(self, stages: list[Any]) -> None:
        student, expected = network(2, seed=1), network(2, seed=1)
        distilled(made=student, stages=stages)
        distilled(made=expected)
        assert tiny.same(tiny.bits(student), tiny.bits(expected))

    def test_a_list_is_a_stage_of_several_methods(self) -> None:
        reports: list[Any] = []
        result = distilled(stages=[["fitnet", KD()], []], on_epoch=reports.append)
        assert [stage["methods"] for stage in result.summary["stages"]] == [["fitnet", "kd"], []]
        assert list(reports[0].losses) == ["total", "ce", "fitnet", "kd"]
        assert list(reports[-1].losses) == ["total", "ce", "anchor"]

    def test_a_stage_may_have_an_anchor_of_its_own(self) -> None:
        own = StageConfig(anchor=ComponentConfig("reference_kl", {"weight": 0.7}))
        without = StageConfig(anchor=None)
        names = [
            [stage["anchor"] for stage in distilled(stages=["kd", second], anchor=anchor).summary["stages"]]
            for second, anchor in (
                (own, None),
                (without, ReferenceKL()),
                (StageConfig(), ReferenceKL()),
                (StageConfig(), None),
            )
        ]
        assert names == [[None, "reference_kl"], [None, None], [None, "reference_kl"], [None, None]]

    def test_its_weight_is_used(self) -> None:
        reports: dict[float, list[Any]] = {0.7: [], 1.4: []}
        for weight, found in reports.items():
            own = StageConfig(anchor=ComponentConfig("reference_kl", {"weight": weight}))
            distilled(
                stages=[[], own],
                anchor=None,
                optimizer=OptimizerConfig(learning_rate=1e-12),
                on_epoch=found.append,
            )
        light, heavy = (found[2].losses["anchor"] for found in reports.values())
        assert heavy == pytest.approx(2 * light, rel=1e-4)

    def test_epochs_beyond_the_budget(self) -> None:
        result = distilled(stages=[StageConfig(ends_after=4), StageConfig(epochs=2)])
        assert [stage["epochs"] for stage in result.summary["stages"]] == [[1, 4], [5, 6]]

    def test_the_default_schedule_decays_as_published(self) -> None:
        reports: list[Any] = []
        distilled(stages=["kd"], epochs=8, schedule=None, on_epoch=reports.append)
        expected = [0.05] * 5 + [0.005, 5e-4, 5e-5]
        assert [report.learning_rate for report in reports] == pytest.approx(expected)

    @pytest.mark.parametrize("epochs", [1, 2, 3])
    def test_few_epochs(self, epochs: int) -> None:
        assert distilled(stages=["kd"], epochs=epochs, schedule=None).summary["epochs"] == epochs


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"teacher": network(4, 2, classes=7)}, "the teacher has 7 output classes, the student 10"),
            ({"teacher": None}, r"^teacher: fitnet \(stage 1\) needs a teacher"),
            ({"stages": ["kdd"]}, "unknown method 'kdd'; did you mean 'kd'"),
            ({"stages": ["kd", "kd", "kd", "kd"]}, r"stages\.2: no learning-rate decay"),
            ({"device": "tpu"}, "runtime.device: 'tpu' is not available"),
            (
                {"optimizer": OptimizerConfig(learning_rate=1e30)},
                r"no longer finite in epoch 1 \((ce|fitnet)",
            ),
            ({"batch_size": 0}, "batch_size: must be"),
        ],
    )
    def test_are_one_line(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            distilled(**changes)
        assert "\n" not in str(caught.value)


class TestDeterminism:
    def test_the_seed_decides(self) -> None:
        students = [network(2, seed=1) for _ in range(3)]
        for student, seed in zip(students, (0, 0, 1), strict=True):
            torch.rand(seed + 3)
            distilled(made=student, seed=seed)
        first, second, third = map(tiny.bits, students)
        assert tiny.same(first, second)
        assert not tiny.same(first, third)
