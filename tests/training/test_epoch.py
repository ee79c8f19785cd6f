"""The loop of a run against one written by hand, bit by bit; what it reports; that chance is all in the seed."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.anchors.reference_kl import ReferenceKL
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, FeatureModel, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method, WeightedMethod
from smskd.models import adapt
from smskd.models.frozen import Frozen
from smskd.ops.divergences import softened_kl
from smskd.recipe import OptimizerSpec, ScheduleSpec, StageSpec
from tests.support import tiny

STEP = ScheduleSpec(decay_epochs=(2,), decay_rate=0.5)


def one_stage(*methods: str | Method | WeightedMethod, epochs: int = 3) -> tuple[tiny.Stage, ...]:
    return tiny.stages([(StageSpec(), methods)], epochs=epochs)


def rates(epoch: int) -> float:
    return 0.05 if epoch <= 2 else 0.025


def by_hand(*, seed: int, distils: bool, epochs: int = 3, fast: bool = True) -> FeatureModel:
    """``fast``: with the fused optimizer and the folded teacher of the engine; else the plainest loop there is."""
    learner, source = tiny.student(), tiny.teacher().eval()
    if fast:
        source = Frozen(source, next(tiny.loader(seed=seed).epoch(1)).x)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=fast)
    learner.train()
    for epoch in range(1, epochs + 1):
        optimizer.param_groups[0]["lr"] = rates(epoch)
        for item in tiny.loader(seed=seed).epoch(epoch):
            logits = learner(item.x)
            loss = F.cross_entropy(logits, item.y)
            if distils:
                loss = 0.1 * loss + 0.9 * softened_kl(logits, source(item.x), 4.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return learner


@pytest.mark.parametrize("distils", [False, True], ids=["plain training", "kd"])
def test_one_stage_without_anchor_is_the_method_alone(distils: bool, tmp_path: Path) -> None:
    made = tiny.setup(one_stage(*(["kd"] if distils else [])), schedule=STEP, seed=3)
    tiny.trained(made, tmp_path)
    assert tiny.same(tiny.bits(made.student), tiny.bits(by_hand(seed=3, distils=distils)))
    plain = tiny.bits(by_hand(seed=3, distils=distils, fast=False))
    for name, value in tiny.bits(made.student).items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-5)


def test_an_anchor_of_weight_zero_is_none(tmp_path: Path) -> None:
    outcomes = []
    for place, anchor in enumerate([None, ReferenceKL(weight=0.0), ReferenceKL(weight=0.4)]):
        planned = tiny.stages([(StageSpec(), ["fitnet"]), (StageSpec(), ["kd"])], epochs=4, anchor=anchor)
        folder = tmp_path / str(place)
        tiny.trained(tiny.setup(planned), folder)
        outcomes.append(tiny.outcome(folder))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0]["weights"] != outcomes[2]["weights"]
    assert outcomes[2]["summary"][0]["stages"][1]["anchor"] == "reference_kl"
    assert outcomes[0]["summary"][0]["stages"][1]["anchor"] is None


class TestReports:
    def test_values_by_hand(self, tmp_path: Path) -> None:
        """With a learning rate of nearly zero in eval-like conditions the epoch can be told from outside."""
        made = tiny.setup(one_stage("kd", epochs=1), optimizer=OptimizerSpec(learning_rate=1e-30, weight_decay=0.0))
        learner = tiny.student().train()
        (report,) = tiny.trained(made, tmp_path)
        right, class_loss, kd, samples = 0, 0.0, 0.0, 0
        source = tiny.teacher().eval()
        for item in tiny.loader(seed=0).epoch(1):
            with torch.no_grad():
                logits, target = learner(item.x), source(item.x)
            right += int((logits.argmax(1) == item.y).sum())
            class_loss += float(F.cross_entropy(logits, item.y, reduction="sum"))
            kd += float(softened_kl(logits, target, 4.0, reduction="none").sum())
            samples += len(item.y)
        assert samples == tiny.TRAIN
        assert report.losses["class"] == pytest.approx(0.1 * class_loss / samples, rel=1e-5)
        assert report.losses["kd"] == pytest.approx(0.9 * kd / samples, rel=1e-5)
        assert report.losses["total"] == pytest.approx(report.losses["class"] + report.losses["kd"], rel=1e-9)
        assert report.train_top1 == pytest.approx(100 * right / samples)
        learner.eval()
        (item,) = tiny.evaluation_loader().epoch(0)
        correct = learner(item.x).argmax(1) == item.y
        assert report.test.correct.tolist() == correct.tolist()
        assert report.test_top1 == pytest.approx(100 * float(correct.float().mean()))

    def test_an_incomplete_batch_counts_by_its_samples(self, tmp_path: Path) -> None:
        made = tiny.setup(one_stage(epochs=1), optimizer=OptimizerSpec(learning_rate=1e-30, weight_decay=0.0))
        object.__setattr__(made, "train", tiny.loader(seed=0, batch_size=25))
        (report,) = tiny.trained(made, tmp_path)
        learner = tiny.student().train()
        losses = [
            (len(item.y), float(F.cross_entropy(learner(item.x), item.y).detach()))
            for item in tiny.loader(seed=0, batch_size=25).epoch(1)
        ]
        assert [count for count, _ in losses] == [25, 25, 10]
        expected = sum(count * loss for count, loss in losses) / 60
        assert report.losses["class"] == pytest.approx(expected, rel=1e-5)

    def test_epochs_stages_and_learning_rates(self, tmp_path: Path) -> None:
        own = ScheduleSpec(decay_epochs=(1,), learning_rate=0.2)
        planned = tiny.stages(
            [
                (StageSpec(until=2), ["kd"]),
                (StageSpec(epochs=2, schedule=own), []),
                (StageSpec(epochs=1), []),
            ],
            epochs=2,
            schedule=STEP,
        )
        reports = tiny.trained(tiny.setup(planned, schedule=STEP), tmp_path)
        assert [report.epoch for report in reports] == [1, 2, 3, 4, 5]
        assert [report.stage for report in reports] == [1, 1, 2, 2, 3]
        assert [report.learning_rate for report in reports] == pytest.approx([0.05, 0.05, 0.2, 0.02, 0.025])
        assert tiny.without_times(tiny.metrics(tmp_path)) == tiny.without_times(
            [report.as_dict() for report in reports]
        )
        assert list(reports[0].losses) == ["total", "class", "kd"]
        assert all(report.seconds > 0 and report.images_per_second > 0 for report in reports)

    def test_a_report_is_a_readable_line(self, tmp_path: Path) -> None:
        (report,) = tiny.trained(tiny.setup(one_stage(epochs=1)), tmp_path)
        assert str(report).startswith("epoch 1  stage 1  lr 0.05  total ")


@dataclass(frozen=True)
class Progressing(Method):
    """Writes down what its batches say of the stage."""

    seen: tuple[list[tuple[int, int]], ...] = ()

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        return Reads(("logits",), ())

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        self.seen[0].append((batch.progress.epoch, batch.progress.epochs))
        return {"zero": 0 * student.logits.sum()}


def test_a_method_is_told_where_its_stage_stands(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    method = WeightedMethod("progressing", Progressing((seen,)), 1.0)
    planned = tiny.stages([(StageSpec(until=1), []), (StageSpec(until=3), [method])], epochs=3)
    tiny.trained(tiny.setup(planned), tmp_path)
    batches = tiny.TRAIN // tiny.BATCH
    assert seen == [(1, 2)] * batches + [(2, 2)] * batches


class TestLossThatIsNotFinite:
    def test_is_told_with_its_name_and_epoch(self, tmp_path: Path) -> None:
        method = WeightedMethod("sp", Exploding(), 1.0)
        planned = tiny.stages([(StageSpec(until=1), []), (StageSpec(), ["kd", method])], epochs=3)
        with pytest.raises(UserError, match=r"no longer finite in epoch 2 \(sp\): lower optimizer.learning_rate"):
            tiny.trained(tiny.setup(planned), tmp_path)
        assert len(tiny.metrics(tmp_path)) == 1, "the broken epoch is not among the metrics"

    def test_also_from_too_high_a_learning_rate(self, tmp_path: Path) -> None:
        made = tiny.setup(one_stage(epochs=8), optimizer=OptimizerSpec(learning_rate=1e30))
        with pytest.raises(UserError, match=r"no longer finite in epoch \d \(class\)"):
            tiny.trained(made, tmp_path)


@dataclass(frozen=True)
class Exploding(Progressing):
    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        return {"infinite": student.logits.sum() * math.inf}


def noisy_student(seed: int = 1) -> FeatureModel:
    """A network of another kind, with dropout."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, tiny.CLASSES),
    )
    return adapt(layers, tiny.EXAMPLE)


class TestDeterminism:
    def run(self, folder: Path, seed: int = 0, disturbance: int | None = None) -> dict[str, object]:
        pairs = [(StageSpec(reference="average"), ["vid", tiny.SMALL_CRD]), (StageSpec(), ["kd"])]
        planned = tiny.stages(pairs, epochs=4, anchor=ReferenceKL())
        made = tiny.setup(planned, learner=noisy_student(), seed=seed)
        if disturbance is not None:
            torch.manual_seed(disturbance)
        tiny.trained(made, folder)
        return tiny.outcome(folder)

    def test_the_same_seed_gives_the_same_bits(self, tmp_path: Path) -> None:
        """Whatever the program drew before."""
        first = self.run(tmp_path / "1", disturbance=1)
        torch.rand(17)
        assert self.run(tmp_path / "2", disturbance=2) == first

    def test_another_seed_gives_others(self, tmp_path: Path) -> None:
        first, second = (self.run(tmp_path / str(seed), seed) for seed in (0, 1))
        assert first["weights"] != second["weights"]
        assert first["metrics"] != second["metrics"]
