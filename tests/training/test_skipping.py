"""``runtime.on_nan: skip``: a step that is not finite changes nothing, and is counted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from smskd.config.optimization import OptimizerConfig
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.objective import Losses, Objective, ParameterGroup
from smskd.interfaces.terms import Kind, Method, TermInputs, WeightedMethod
from smskd.timing import IDLE
from smskd.training.optimizer import build_optimizer, state_tensors
from smskd.training.skipping import SkipCounts
from smskd.training.step import Step
from tests.support import tiny

OPTIMIZERS = {"sgd": OptimizerConfig(), "adamw": OptimizerConfig(name="adamw", learning_rate=0.01)}


class Poisoned(Objective):
    """Cross-entropy alone, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.student = tiny.student()
        self.factor = factor

    def forward(self, batch: Batch) -> Losses:
        logits = self.student(batch.x)
        loss = nn.functional.cross_entropy(logits, batch.y) * self.factor
        return Losses(loss, {"ce": loss}, logits)

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(tuple(self.student.parameters()))]

    views = frozenset()  # type: ignore[assignment]

    @property
    def predictor(self) -> Any:
        return self.student

    @property
    def term_states(self) -> nn.ModuleList:
        return nn.ModuleList()


def step_of(optimizer: OptimizerConfig, precision: Any = "fp32", *, skips: bool = True) -> Step:
    objective = Poisoned().train()
    made = build_optimizer(optimizer, objective.parameter_groups())
    return Step(objective, made, RuntimeConfig(precision), IDLE, torch.device("cpu"), skips=skips)


def images(value: float | None = None) -> Batch:
    x = torch.randn(20, *tiny.SHAPE, generator=torch.Generator().manual_seed(4))
    if value is not None:
        x[3] = value
    return Batch(x, torch.arange(20) % tiny.CLASSES)


def state(step: Step) -> dict[str, Tensor]:
    return {
        **tiny.bits(step.objective),
        **{name: value.clone() for name, value in state_tensors(step.optimizer).items()},
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_that_are_finite_are_those_without_skipping(optimizer: str, precision: str) -> None:
    skipping, usual = (step_of(OPTIMIZERS[optimizer], precision, skips=skips) for skips in (True, False))
    for _ in range(3):
        skipping(images())
        usual(images())
        assert skipping.skipped is not None
        assert not skipping.skipped
    assert tiny.same(state(skipping), state(usual))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_a_step_that_is_not_finite_changes_nothing(optimizer: str, precision: str, poison: float) -> None:
    """Neither weights nor momenta nor the statistics of batch norms; 1e30 makes the variance infinite alone."""
    step = step_of(OPTIMIZERS[optimizer], precision)
    step(images())
    before = state(step)
    step(images(poison))
    assert step.skipped
    assert tiny.same(state(step), before)
    step(images())
    assert not step.skipped
    assert not tiny.same(state(step), before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_first_step_that_is_skipped(optimizer: str) -> None:
    late, usual = step_of(OPTIMIZERS[optimizer]), step_of(OPTIMIZERS[optimizer])
    late(images(float("nan")))
    late(images())
    usual(images())
    assert tiny.same(state(late), state(usual))


def test_gradients_alone_may_be_at_fault() -> None:
    step = step_of(OPTIMIZERS["sgd"])
    before = state(step)
    weight = next(step.objective.parameters())
    weight.register_hook(lambda gradient: gradient * torch.inf)
    step(images())
    assert step.skipped
    assert tiny.same(state(step), before)


def test_counts() -> None:
    counts = SkipCounts(torch.device("cpu"))
    for skipped in (True, False, True, True, False):
        counts.add(torch.tensor(skipped), 10)
    found = counts.read()
    assert (found.steps, found.samples, found.longest) == (3, 30, 2)


@dataclass(frozen=True)
class Sometimes(Method):
    """Is NaN for the samples whose index is in a set, in some epochs."""

    broken: tuple[int, ...] = ()
    epochs: tuple[int, ...] = (2,)

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        loss = inputs.student.logits.square().mean(dim=1)
        if inputs.batch.progress.epoch in self.epochs and inputs.batch.index is not None:
            hit = torch.isin(inputs.batch.index, torch.tensor(self.broken))
            loss = torch.where(hit, torch.nan, loss)
        return {"sometimes": loss}


def recipe(method: Sometimes, **settings: Any) -> Any:
    own = WeightedMethod("sometimes", method, 0.1)
    return tiny.recipe([(StageConfig(), [own])], epochs=3, **{"on_nan": "skip", **settings})


class TestRuns:
    def test_a_skipped_step_is_counted_and_noted(self, tmp_path: Path) -> None:
        made = tiny.built(recipe(Sometimes((5,))))
        reports = tiny.trained(made, tmp_path)
        assert [report.skipped_steps for report in reports] == [0, 1, 0]
        assert [line["skipped_steps"] for line in tiny.metrics(tmp_path)] == [0, 1, 0]
        found = tiny.summary(tmp_path)
        assert found["skipped_steps"] == 1
        assert [note for note in found["notes"] if note.startswith("1 training step was skipped")]
        assert all(bool(value.isfinite().all()) for value in made.student.state_dict().values())
        assert "skipped 1 steps" in str(reports[1])

    def test_the_loss_is_the_mean_of_the_others(self, tmp_path: Path) -> None:
        """Of three batches, two count; nothing is trained, so that they are those of another method."""
        still = OptimizerConfig(learning_rate=1e-30, weight_decay=0.0)
        found = {}
        for name, broken in (("broken", (5,)), ("whole", ())):
            made = tiny.built(recipe(Sometimes(broken), optimizer=still))
            found[name] = tiny.trained(made, tmp_path / name)[1].losses
            order = [batch.index.tolist() for batch in made.loaders[0].epoch(2) if batch.index is not None]
        counted = [index for index in order if 5 not in index]
        assert len(counted) == 2
        assert found["broken"]["ce"] != found["whole"]["ce"]
        logits = [batch for batch in made.loaders[0].epoch(2) if batch.index is not None and 5 not in batch.index]
        with torch.no_grad():
            student = tiny.student().train()
            by_hand = [float(nn.functional.cross_entropy(student(batch.x), batch.y)) for batch in logits]
        assert found["broken"]["ce"] == pytest.approx(sum(by_hand) / 2, rel=1e-5)

    def test_resume_is_exact(self, tmp_path: Path) -> None:
        wanted = recipe(Sometimes((5,)))
        tiny.trained(tiny.built(wanted), tmp_path / "whole")
        (tmp_path / "parts").mkdir()
        reports = tiny.epochs_of(tiny.built(wanted), tmp_path / "parts")
        while getattr(next(reports), "epoch", 0) != 2:
            pass
        reports.close()
        tiny.trained(tiny.built(wanted), tmp_path / "parts")
        assert tiny.outcome(tmp_path / "parts") == tiny.outcome(tmp_path / "whole")

    def test_an_epoch_of_skipped_steps_ends_the_run(self, tmp_path: Path) -> None:
        made = tiny.built(recipe(Sometimes(tuple(range(tiny.TRAIN)))))
        with pytest.raises(UserError, match="3 training steps in a row were skipped in epoch 2"):
            tiny.trained(made, tmp_path)

    def test_a_run_that_nan_has_stopped_goes_on_with_skipping(self, tmp_path: Path) -> None:
        method = Sometimes((5,))
        with pytest.raises(UserError, match="no longer finite in epoch 2"):
            tiny.trained(tiny.built(recipe(method, on_nan="stop")), tmp_path / "resumed")
        reports = tiny.trained(tiny.built(recipe(method)), tmp_path / "resumed")
        assert [report.epoch for report in reports] == [2, 3]
        tiny.trained(tiny.built(recipe(method)), tmp_path / "whole")
        weights = [tiny.written(tmp_path / name / "student.safetensors")["tensors"] for name in ("resumed", "whole")]
        assert weights[0] == weights[1]
