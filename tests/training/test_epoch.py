"""Training by the engine against the same training by hand, the reports of epochs, and losses that are not finite."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs, WeightedMethod
from smskd.ops.divergences import softened_kl
from smskd.recipe import Recipe
from smskd.training.config import RunConfig
from tests.support import tiny

HALVED = ScheduleConfig(decay_at=(2,), decay_rate=0.5)
RATES = [0.05, 0.05, 0.025]
STILL = OptimizerConfig(learning_rate=1e-30, weight_decay=0.0)
"""The student stays what it is, so that an epoch can be computed from outside."""


def one_stage(*methods: str | Method | WeightedMethod, epochs: int = 3, **settings: object) -> Recipe:
    return tiny.recipe([(StageConfig(), methods)], epochs=epochs, schedule=HALVED, **settings)  # type: ignore[arg-type]


def by_hand(made: RunConfig, learner: nn.Module, source: nn.Module | None, *, fused: bool) -> dict[str, Tensor]:
    """The weights after a training loop as plain as can be.

    Args:
        made: whose training batches are used.
        learner: is trained.
        source: KD's teacher; None: plain training.
        fused: whether the optimizer is, as the engine's.
    """
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=fused)
    learner.train()
    for epoch, rate in enumerate(RATES, start=1):
        optimizer.param_groups[0]["lr"] = rate
        for batch in made.loaders[0].epoch(epoch):
            logits = learner(batch.x)
            loss = F.cross_entropy(logits, batch.y)
            if source is not None:
                loss = 0.1 * loss + 0.9 * softened_kl(logits, source(batch.x), 4.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return tiny.bits(learner)


@pytest.mark.parametrize("distils", [False, True], ids=["plain training", "kd"])
def test_one_stage_without_anchor_is_the_method_alone(distils: bool, tmp_path: Path) -> None:
    """Bit by bit with the engine's folded teacher and fused optimizer, and up to rounding without them."""
    wanted = one_stage(*(["kd"] if distils else []), seed=3)
    made, fresh = tiny.built(wanted), tiny.built(wanted)
    tiny.trained(made, tmp_path)
    trained = tiny.bits(made.student)
    assert tiny.same(trained, by_hand(fresh, fresh.student, fresh.teachers[0] if distils else None, fused=True))
    plain = by_hand(fresh, tiny.student(), tiny.teacher().eval() if distils else None, fused=False)
    for name, value in trained.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-5)


class TestReports:
    def test_values_by_hand(self, tmp_path: Path) -> None:
        made = tiny.built(one_stage("kd", epochs=1, optimizer=STILL))
        learner, source = tiny.student().train(), tiny.teacher().eval()
        (report,) = tiny.trained(made, tmp_path)
        right, cross_entropy, kd, samples = 0, 0.0, 0.0, 0
        for batch in made.loaders[0].epoch(1):
            with torch.no_grad():
                logits, target = learner(batch.x), source(batch.x)
            right += int((logits.argmax(1) == batch.y).sum())
            cross_entropy += float(F.cross_entropy(logits, batch.y, reduction="sum"))
            kd += float(softened_kl(logits, target, 4.0, reduction="none").sum())
            samples += len(batch.y)
        assert samples == tiny.TRAIN
        assert report.losses["ce"] == pytest.approx(0.1 * cross_entropy / samples, rel=1e-5)
        assert report.losses["kd"] == pytest.approx(0.9 * kd / samples, rel=1e-5)
        assert report.losses["total"] == pytest.approx(report.losses["ce"] + report.losses["kd"], rel=1e-9)
        assert report.train_top1 == pytest.approx(100 * right / samples)
        learner.eval()
        (batch,) = made.test.epoch(0)
        correct = learner(batch.x).argmax(1) == batch.y
        assert report.test.correct.tolist() == correct.tolist()
        assert report.test_top1 == pytest.approx(100 * float(correct.float().mean()))
        assert str(report).startswith("epoch 1  stage 1  lr 1e-30  total ")

    def test_an_incomplete_batch_counts_by_its_samples(self, tmp_path: Path) -> None:
        made = tiny.built(one_stage(epochs=1, optimizer=STILL, batch_size=25))
        (report,) = tiny.trained(made, tmp_path)
        learner = tiny.student().train()
        losses = [
            (len(batch.y), float(F.cross_entropy(learner(batch.x), batch.y).detach()))
            for batch in made.loaders[0].epoch(1)
        ]
        assert [count for count, _ in losses] == [25, 25, 10]
        expected = sum(count * loss for count, loss in losses) / tiny.TRAIN
        assert report.losses["ce"] == pytest.approx(expected, rel=1e-5)

    def test_epochs_stages_and_learning_rates(self, tmp_path: Path) -> None:
        own = ScheduleConfig(decay_at=(1,), learning_rate=0.2)
        stages: list[tuple[StageConfig, tiny.Methods]] = [
            (StageConfig(ends_after=2), ["kd"]),
            (StageConfig(epochs=2, schedule=own), []),
            (StageConfig(epochs=1), []),
        ]
        reports = tiny.trained(tiny.built(tiny.recipe(stages, epochs=2, schedule=HALVED, validation=20)), tmp_path)
        assert [report.epoch for report in reports] == [1, 2, 3, 4, 5]
        assert [report.stage for report in reports] == [1, 1, 2, 2, 3]
        assert [report.learning_rate for report in reports] == pytest.approx([0.05, 0.05, 0.2, 0.02, 0.025])
        assert tiny.without_times(tiny.metrics(tmp_path)) == tiny.without_times(
            [report.as_dict() for report in reports]
        )
        assert list(reports[0].losses) == ["total", "ce", "kd"]
        assert all(report.seconds > 0 and report.images_per_second > 0 for report in reports)
        for report in reports:
            assert report.validation is not None
            assert len(report.validation.correct) == 20
            assert report.validation_top1 == 5 * int(report.validation.correct.sum())


@dataclass(frozen=True)
class Progressing(Method):
    """Notes the progress that its batches bring."""

    seen: tuple[list[tuple[int, int]], ...] = ()

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        progress = inputs.batch.progress
        self.seen[0].append((progress.epoch, progress.epochs))
        return {"zero": 0 * inputs.student.logits.sum(dim=1)}


@dataclass(frozen=True)
class Exploding(Progressing):
    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"infinite": inputs.student.logits.sum() * math.inf}


def test_batches_bring_the_progress_of_their_stage(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    method = WeightedMethod("progressing", Progressing((seen,)), 1.0)
    made = tiny.built(tiny.recipe([(StageConfig(ends_after=1), []), (StageConfig(), [method])], epochs=3))
    seen.clear()
    tiny.trained(made, tmp_path)
    batches = tiny.TRAIN // tiny.BATCH
    rehearsed = [(1, 2)]
    assert seen == rehearsed + [(1, 2)] * batches + [(2, 2)] * batches


class TestLossThatIsNotFinite:
    def test_is_refused_with_its_name_and_epoch(self, tmp_path: Path) -> None:
        method = WeightedMethod("sp", Exploding(), 1.0)
        made = tiny.built(tiny.recipe([(StageConfig(ends_after=1), []), (StageConfig(), ["kd", method])], epochs=3))
        blamed = r"first batch of stage 2 is not finite in epoch 2 \(sp\), before any update of the stage"
        with pytest.raises(UserError, match=blamed):
            tiny.trained(made, tmp_path)
        assert len(tiny.metrics(tmp_path)) == 1, "the broken epoch is not among the metrics"

    def test_also_from_too_high_a_learning_rate(self, tmp_path: Path) -> None:
        made = tiny.built(one_stage(epochs=8, optimizer=OptimizerConfig(learning_rate=1e30)))
        with pytest.raises(UserError, match=r"no longer finite in epoch \d \(ce\)"):
            tiny.trained(made, tmp_path)
