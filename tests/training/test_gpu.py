"""Behaviour of a GPU alone: steps replayed as CUDA graphs, and frozen networks folded there."""

import copy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.cache import CacheMode
from smskd.config.optimization import OptimizerConfig
from smskd.config.runtime import Compile, ComputeConfig, OnNan, Precision
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs, WeightedMethod
from smskd.models import adapt
from smskd.models.frozen import Frozen
from smskd.registry import METHODS
from smskd.training.config import RunConfig
from smskd.training.globals import computing
from smskd.training.step import Step
from tests.support import tiny
from tests.support.nearly_equal import SLOW, cached_teacher, check_near

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

WAITING = {"kdsvd"}
"""Methods whose steps cannot be captured: decompositions wait for the device."""

AS_WIDE = {"fsp", "kdsvd"}
"""Methods that need a student as wide as the teacher."""


@pytest.fixture(autouse=True)
def exact() -> Any:
    with computing(ComputeConfig(tf32=False)):
        yield


def setup(
    methods: Any,
    compiled: Compile = "auto",
    precision: Precision = "fp32",
    cache: CacheMode = "off",
    optimizer: OptimizerConfig = SLOW,
    on_nan: OnNan = "stop",
) -> RunConfig:
    """Two stages, of batches of 8 and a last one of 4."""
    stages = [(StageConfig(ends_after=2), list(methods)), (StageConfig(), ["kd"])]
    wide = tiny.student(name="resnet8_w4") if AS_WIDE.intersection(map(str, methods)) else None
    wanted = tiny.recipe(
        stages,
        epochs=4,
        anchor=ReferenceKL(),
        optimizer=optimizer,
        batch_size=8,
        teacher=cached_teacher(cache),
        device="cuda",
        precision=precision,
        compile=compiled,
        tf32=False,
        on_nan=on_nan,
    )
    return tiny.built(wanted, learner=wide)


def replayed(folder: Path) -> list[bool]:
    return [stage["cost"]["replayed"] for stage in tiny.summary(folder)["stages"]]


@pytest.mark.parametrize("name", METHODS.names())
def test_replayed_steps_are_those_that_are_not(name: str, tmp_path: Path) -> None:
    methods = [tiny.SMALL_CRD] if name == "crd" else [name]
    plain = tiny.trained(setup(methods, "off"), tmp_path / "plain")
    fast = tiny.trained(setup(methods), tmp_path / "fast")
    assert replayed(tmp_path / "plain") == [False, False]
    assert replayed(tmp_path / "fast") == [name not in WAITING, True]
    check_near(fast, plain)


@pytest.mark.parametrize("cache", ["off", "memory"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", [SLOW, OptimizerConfig(name="adamw", learning_rate=1e-3)], ids=["sgd", "adamw"])
def test_resume_is_exact(precision: Precision, cache: CacheMode, optimizer: OptimizerConfig, tmp_path: Path) -> None:
    def made() -> RunConfig:
        return setup([tiny.SMALL_CRD, "kd"], "auto", precision, cache, optimizer)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    tiny.trained(made(), whole)
    reports = tiny.epochs_of(made(), parts)
    list(islice(reports, 1))
    reports.close()
    tiny.trained(made(), parts)
    assert replayed(whole) == [True, True]
    assert tiny.outcome(parts) == tiny.outcome(whole)


@pytest.mark.parametrize("cache", ["off", "memory"])
def test_no_step_waits_for_the_device(cache: CacheMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first of all, which initialises everything that is made only once."""
    call, calls = Step.__call__, 0

    def watched(self: Step, batch: Batch) -> Any:
        nonlocal calls
        calls += 1
        torch.cuda.set_sync_debug_mode("error" if calls > 1 else "default")
        try:
            return call(self, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Step, "__call__", watched)
    tiny.trained(setup(["fitnet", tiny.SMALL_CRD], "off", cache=cache), tmp_path)
    rehearsed = 2 * 2
    assert calls == rehearsed + 4 * 8


def test_compiled_steps_are_replayed_too(tmp_path: Path) -> None:
    plain = tiny.trained(setup(["kd"], "off"), tmp_path / "plain")
    fast = tiny.trained(setup(["kd"], "on"), tmp_path / "fast")
    assert replayed(tmp_path / "fast") == [True, True]
    for one, other in zip(fast, plain, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-3)


@dataclass(frozen=True)
class DrawsOnTheCpu(Method):
    """Weights its loss by a number that is drawn on the CPU."""

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",), ("logits",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"loss": float(torch.rand(())) * (inputs.student.logits - inputs.teacher.logits).square().mean()}


@dataclass(frozen=True)
class Drops(DrawsOnTheCpu):
    """Leaves out some logits, drawn on the device."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"loss": nn.functional.dropout(inputs.student.logits - inputs.teacher.logits).square().mean()}


@dataclass(frozen=True)
class Waits(Drops):
    """Does the same, and then waits for the device."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        losses = super().loss(inputs, state)
        float(losses["loss"].detach())
        return losses


@pytest.mark.parametrize(("method", "works"), [(DrawsOnTheCpu(), False), (Drops(), True), (Waits(), False)])
def test_a_step_that_cannot_be_captured_is_eager(method: Method, works: bool, tmp_path: Path) -> None:
    weighed = WeightedMethod("own", method, 1.0)
    plain = tiny.trained(setup([weighed], "off"), tmp_path / "plain")
    fast = tiny.trained(setup([weighed]), tmp_path / "fast")
    assert replayed(tmp_path / "fast") == [works, True]
    check_near(fast, plain)


@dataclass(frozen=True)
class NotFiniteForOneSample(Method):
    """Is NaN for the batch with the sample of index 5."""

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        assert inputs.batch.index is not None
        loss = inputs.student.logits.square().mean(dim=1)
        return {"loss": torch.where(inputs.batch.index == 5, torch.nan, loss)}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_skipped_steps_are_replayed(precision: Precision, tmp_path: Path) -> None:
    weighed = WeightedMethod("own", NotFiniteForOneSample(), 0.1)
    plain = tiny.trained(setup([weighed], "off", precision, on_nan="skip"), tmp_path / "plain")
    made = setup([weighed], "auto", precision, on_nan="skip")
    fast = tiny.trained(made, tmp_path / "fast")
    assert replayed(tmp_path / "fast") == [True, True]
    assert [report.skipped_steps for report in plain] == [1, 1, 0, 0]
    assert [report.skipped_steps for report in fast] == [1, 1, 0, 0]
    check_near(fast, plain)
    assert all(bool(value.isfinite().all()) for value in made.student.state_dict().values())


@dataclass(frozen=True)
class Greedy(Method):
    """Allocates more memory than any GPU has, while it is hungry."""

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0
    hungry: ClassVar[bool] = False

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        if self.hungry:
            torch.empty(2**50, dtype=torch.uint8, device=inputs.student.logits.device)
        return {"loss": inputs.student.logits.square().mean(dim=1)}


def test_running_out_of_memory_is_a_line_and_the_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> RunConfig:
        return setup([WeightedMethod("greedy", Greedy(), 0.1)], "off")

    tiny.trained(made(), tmp_path / "whole")
    (tmp_path / "parts").mkdir()
    reports = tiny.epochs_of(made(), tmp_path / "parts")
    next(reports)
    monkeypatch.setattr(Greedy, "hungry", True)
    with pytest.raises(UserError, match=r"memory does not suffice for stage 1 \(greedy\) with batches of 8 images"):
        list(reports)
    monkeypatch.setattr(Greedy, "hungry", False)
    tiny.trained(made(), tmp_path / "parts")
    assert tiny.outcome(tmp_path / "parts") == tiny.outcome(tmp_path / "whole")


def test_networks_are_folded_though_products_are_rounded() -> None:
    teacher = tiny.teacher().to("cuda")
    example = tiny.EXAMPLE.to("cuda")
    with computing(ComputeConfig(tf32=True)):
        assert Frozen(adapt(copy.deepcopy(teacher), example), example).folds
        assert torch.backends.cudnn.allow_tf32
