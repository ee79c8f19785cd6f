"""`smskd.distill`: any pair of networks, any map-style data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import smskd
from smskd import OptimizerSpec, ReferenceKL, ScheduleSpec, StageSpec, UserError
from smskd import session as training
from smskd.data import Augmentation
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method, WeightedMethod
from smskd.methods.crd import CRD
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.models import load_weights, save_weights
from smskd.objective.student_head import StudentWithHead
from smskd.recipe import ComponentSpec, MethodSpec, parse
from tests.support import tiny

Sample = tuple[Any, int]


def network(width: int, seed: int, classes: int = tiny.CLASSES) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(2 * width, classes),
    )


def floats(part: str) -> list[Sample]:
    """A plain list of (tensor, label)."""
    pictures = getattr(tiny.digits(), part)
    return [(image.float() / 255, label) for image, label in (pictures[row] for row in range(len(pictures)))]


class TorchvisionLike:
    """A data set of PIL pictures, with its labels in ``targets``."""

    def __init__(self, part: str) -> None:
        pictures = getattr(tiny.digits(), part)
        self.images = [Image.fromarray(np.asarray(image[0])) for image in pictures.images]
        self.targets = pictures.labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images[index], self.targets[index]


def distilled(*, made: nn.Module | None = None, **changes: Any) -> smskd.Result:
    options: dict[str, Any] = {
        "student": made or network(2, seed=1),
        "teacher": network(4, seed=2),
        "stages": ["fitnet", "kd"],
        "train": floats("train"),
        "test": floats("test"),
        "epochs": 4,
        "batch_size": tiny.BATCH,
        "schedule": ScheduleSpec(decay_epochs=(2, 3)),
        "device": "cpu",
        **changes,
    }
    return smskd.distill(**options)


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its charts take more time than the runs."""
    monkeypatch.setattr(training, "write_run_report", lambda _: None)


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
        """Not a measurement: the digits it was trained on are known to a wider network at the end."""
        seen = floats("train")
        result = distilled(
            made=network(8, seed=1),
            teacher=None,
            stages=[],
            test=seen,
            epochs=25,
            optimizer=OptimizerSpec(name="adamw", learning_rate=0.02),
            schedule=ScheduleSpec(name="cosine"),
        )
        assert result.summary["teacher"] is None
        assert result.summary["student"]["top1"] > 60

    def test_plain_training_needs_no_teacher(self) -> None:
        assert distilled(teacher=None, stages=[[]], epochs=1).summary["stages"][0]["methods"] == []

    def test_zoo_and_foreign_together(self) -> None:
        assert distilled(made=tiny.student(), stages=["kd"], epochs=1).summary["student"]["model"] == "ResNet"


class TestAnyData:
    def test_pil_pictures_are_the_pictures_in_memory(self) -> None:
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

    def test_crd_takes_the_labels_of_targets(self) -> None:
        stages = [CRD(negatives=9, feature_dim=4)]
        distilled(stages=stages, train=TorchvisionLike("train"), test=TorchvisionLike("test"), epochs=1)
        with pytest.raises(UserError, match=r"^crd: .*label of every training sample"):
            distilled(stages=stages, epochs=1)

    def test_workers_change_nothing(self) -> None:
        students = [network(2, seed=1), network(2, seed=1)]
        for workers, student in enumerate(students):
            distilled(made=student, workers=workers, epochs=1, stages=["kd"])
        assert tiny.same(*map(tiny.bits, students))

    def test_a_wrong_label_is_told(self) -> None:
        broken = [*floats("train")[:-1], (floats("train")[-1][0], 10)]
        with pytest.raises(UserError, match="sample 59: the label is 10; with 10 classes"):
            distilled(train=broken)

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_more_classes_than_the_student_knows(self, part: str) -> None:
        with pytest.raises(UserError, match="the pictures have 10 classes, the student tells 7 apart"):
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
            [StageSpec(methods=(MethodSpec(name="fitnet"),)), "kd"],
            [
                StageSpec(methods=(MethodSpec(name="fitnet", weight=100.0, hint_layer=2),), until=2),
                StageSpec(methods=(MethodSpec(name="kd"),), ce_weight=0.1, epochs=2),
            ],
        ],
        ids=["names", "objects", "lists", "weighted", "spec", "specs"],
    )
    def test_all_ways_of_saying_it_are_the_same(self, stages: list[Any]) -> None:
        student, expected = network(2, seed=1), network(2, seed=1)
        distilled(made=student, stages=stages)
        distilled(made=expected)
        assert tiny.same(tiny.bits(student), tiny.bits(expected))

    def test_a_list_is_a_stage_of_several_methods(self) -> None:
        reports: list[Any] = []
        result = distilled(stages=[["fitnet", KD()], []], on_epoch=reports.append)
        assert [stage["methods"] for stage in result.summary["stages"]] == [["fitnet", "kd"], []]
        assert list(reports[0].losses) == ["total", "class", "fitnet", "kd"]
        assert list(reports[-1].losses) == ["total", "class", "anchor"]

    def test_a_stage_may_have_an_anchor_of_its_own(self) -> None:
        own = StageSpec(anchor=ComponentSpec(name="reference_kl", weight=0.7))
        without = StageSpec(anchor=None)
        names = [
            [stage["anchor"] for stage in distilled(stages=["kd", second], anchor=anchor).summary["stages"]]
            for second, anchor in (
                (own, None),
                (without, ReferenceKL()),
                (StageSpec(), ReferenceKL()),
                (StageSpec(), None),
            )
        ]
        assert names == [[None, "reference_kl"], [None, None], [None, "reference_kl"], [None, None]]

    def test_its_weight_is_used(self) -> None:
        reports: dict[float, list[Any]] = {0.7: [], 1.4: []}
        for weight, found in reports.items():
            own = StageSpec(anchor=ComponentSpec(name="reference_kl", weight=weight))
            distilled(
                stages=[[], own],
                anchor=None,
                optimizer=OptimizerSpec(learning_rate=1e-12),
                on_epoch=found.append,
            )
        light, heavy = (found[2].losses["anchor"] for found in reports.values())
        assert heavy == pytest.approx(2 * light, rel=1e-4)

    def test_epochs_beyond_the_budget(self) -> None:
        result = distilled(stages=[StageSpec(until=4), StageSpec(epochs=2)])
        assert [stage["epochs"] for stage in result.summary["stages"]] == [[1, 4], [5, 6]]

    def test_the_default_schedule_decays_as_published(self) -> None:
        reports: list[Any] = []
        distilled(stages=["kd"], epochs=8, schedule=None, on_epoch=reports.append)
        expected = [0.05] * 5 + [0.005, 5e-4, 5e-5]
        assert [report.learning_rate for report in reports] == pytest.approx(expected)

    @pytest.mark.parametrize("epochs", [1, 2, 3])
    def test_few_epochs(self, epochs: int) -> None:
        assert distilled(stages=["kd"], epochs=epochs, schedule=None).summary["epochs"] == epochs


class Stop(Exception):
    pass


def stopping_after(epochs: int) -> Callable[[Any], None]:
    def on_epoch(report: Any) -> None:
        if report.epoch == epochs:
            raise Stop

    return on_epoch


@pytest.mark.usefixtures("no_page")
class TestResume:
    @pytest.mark.parametrize("epoch", [1, 2, 3])
    def test_ends_as_if_it_had_not_been_stopped(self, epoch: int, tmp_path: Path) -> None:
        expected = distilled(out=tmp_path / "whole")
        with pytest.raises(Stop):
            distilled(out=tmp_path / "run", on_epoch=stopping_after(epoch))
        seen: list[int] = []
        found = distilled(out=tmp_path / "run", resume=True, on_epoch=lambda report: seen.append(report.epoch))
        assert seen == list(range(epoch + 1, 5))
        assert tiny.same(tiny.bits(found.student), tiny.bits(expected.student))
        assert tiny.outcome(tmp_path / "run") == tiny.outcome(tmp_path / "whole")
        assert found.path == tmp_path / "run"

    def test_of_a_finished_run_gives_its_student(self, tmp_path: Path) -> None:
        first = distilled(out=tmp_path)
        before = tiny.outcome(tmp_path)
        again = distilled(made=network(2, seed=9), out=tmp_path, resume=True, on_epoch=stopping_after(1))
        assert tiny.same(tiny.bits(again.student), tiny.bits(first.student))
        assert not again.student.training
        assert again.summary == first.summary
        assert tiny.outcome(tmp_path) == before

    def test_needs_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="resume needs out"):
            distilled(resume=True)
        with pytest.raises(UserError, match="holds no run to go on with"):
            distilled(resume=True, out=tmp_path / "nothing")
        assert not (tmp_path / "nothing").exists()

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"stages": ["fitnet", "at"]}, "stages"),
            ({"stages": ["fitnet", KD(temperature=2)]}, "stages"),
            ({"seed": 4}, "seed"),
            ({"epochs": 5}, "epochs"),
            ({"optimizer": OptimizerSpec(learning_rate=0.1)}, "optimizer"),
        ],
    )
    def test_needs_the_same_arguments(self, changes: dict[str, Any], what: str, tmp_path: Path) -> None:
        with pytest.raises(Stop):
            distilled(out=tmp_path, on_epoch=stopping_after(1))
        with pytest.raises(UserError, match=f"holds a run with other .*{what}.*; resume needs the same arguments"):
            distilled(out=tmp_path, resume=True, **changes)


@pytest.mark.usefixtures("no_page")
class TestFolder:
    def test_weights_are_those_of_the_student(self, tmp_path: Path) -> None:
        result = distilled(out=tmp_path)
        assert tiny.same(load_file(tmp_path / "student.safetensors"), tiny.bits(result.student))
        fresh = network(2, seed=5)
        load_weights(fresh, tmp_path)
        assert tiny.same(tiny.bits(fresh), tiny.bits(result.student))
        assert result.summary == tiny.summary(tmp_path)
        with pytest.raises(UserError, match=r"does not say which model it belongs to"):
            smskd.load(tmp_path)

    def test_of_another_run_is_left_alone(self, tmp_path: Path) -> None:
        distilled(out=tmp_path, stages=["kd"], epochs=1)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(UserError, match="holds another run"):
            distilled(out=tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    def test_is_free_again_if_the_run_cannot_begin(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="the teacher tells 7 classes apart and the student 10"):
            distilled(out=tmp_path, teacher=network(4, 2, classes=7))
        distilled(out=tmp_path, stages=["kd"], epochs=1)


class TestMistakes:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"teacher": network(4, 2, classes=7)}, "the teacher tells 7 classes apart and the student 10"),
            ({"teacher": None}, "fitnet distils from a teacher, and there is none"),
            ({"stages": ["kdd"]}, "unknown method 'kdd'; did you mean 'kd'"),
            ({"stages": ["kd", "kd", "kd", "kd"]}, r"stages\.2: no learning-rate decay"),
            ({"device": "tpu"}, "device: 'tpu' is not here"),
            (
                {"optimizer": OptimizerSpec(learning_rate=1e30)},
                r"no longer finite in epoch 1 \((class|fitnet)",
            ),
            ({"batch_size": 0}, "batch_size is 0"),
        ],
    )
    def test_are_told_in_a_line(self, changes: dict[str, Any], message: str) -> None:
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


@dataclass(frozen=True)
class NewHead(Method):
    """A method whose layer becomes the student's last one."""

    scale: float = 1.0

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0
    replaces_head: ClassVar[bool] = True

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        return Reads((student.pooled,), ("logits",))

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        return nn.Linear(student.shapes[0][0], teacher.classes)

    def transform(self, student: TappedOutputs, state: nn.Module) -> TappedOutputs:
        return TappedOutputs(self.scale * state(student.features[0]), student.features)

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        return {"head": (student.logits - teacher.logits).square().mean()}


@pytest.mark.usefixtures("no_page")
class TestAStudentThatIsTransformed:
    def test_is_what_is_given_back_saved_and_loaded(self, tmp_path: Path) -> None:
        save = tmp_path / "teacher.safetensors"
        save_weights(tiny.teacher(), save)
        value = {
            "data": {"name": "digits", "train_limit": tiny.TRAIN, "test_limit": tiny.TEST},
            "teacher": {"model": "resnet8_w4", "weights": str(save)},
            "student": "resnet8_w2",
            "epochs": 3,
            "batch_size": tiny.BATCH,
            "schedule": {"decay_epochs": [2]},
            "device": "cpu",
            "methods": [f"{NewHead.__module__}:NewHead", "kd"],
        }
        result = smskd.train(parse(value), out=tmp_path / "run")
        x = torch.rand(3, *tiny.SHAPE)
        loaded = smskd.load(tmp_path / "run")
        assert isinstance(result.student, StudentWithHead)
        torch.testing.assert_close(loaded(x), result.student(x), rtol=1e-4, atol=1e-6)
        assert tiny.same(tiny.bits(loaded), tiny.bits(result.student))

    def test_resumes(self, tmp_path: Path) -> None:
        whole = distilled(stages=[NewHead(), "kd"], out=tmp_path / "whole")
        for epoch in (1, 3):
            folder = tmp_path / str(epoch)
            with pytest.raises(Stop):
                distilled(stages=[NewHead(), "kd"], out=folder, on_epoch=stopping_after(epoch))
            result = distilled(stages=[NewHead(), "kd"], out=folder, resume=True)
            assert tiny.same(tiny.bits(result.student), tiny.bits(whole.student))
            assert tiny.outcome(folder) == tiny.outcome(tmp_path / "whole")
        again = distilled(stages=[NewHead(), "kd"], out=tmp_path / "whole", resume=True)
        assert tiny.same(tiny.bits(again.student), tiny.bits(whole.student))
