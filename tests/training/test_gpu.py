"""What only a GPU can show: steps replayed as CUDA graphs, and frozen networks folded there."""

import copy
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.runtime import Compile, ComputeConfig, Precision
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Method, WeightedMethod
from smskd.models import adapt
from smskd.models.frozen import Frozen
from smskd.recipe import OptimizerSpec, StageSpec
from smskd.registry import METHODS
from smskd.runs.folder import RunFolder
from smskd.teacher_cache import CacheConfig
from smskd.training.config import RunConfig
from smskd.training.host import allow_tf32, use_deterministic_cudnn
from smskd.training.run import run
from smskd.training.step import Step
from tests.support import tiny
from tests.training.test_cuda_graphs import SLOW, check_near

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

WAITING = {"kdsvd"}
"""Methods whose steps cannot be recorded: decompositions wait for the device."""

AS_WIDE = {"fsp", "kdsvd"}
"""Methods that want a student as wide as the teacher."""


@pytest.fixture(autouse=True)
def exact() -> Any:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.deterministic
    allow_tf32(False)
    use_deterministic_cudnn()
    yield
    allow_tf32(before[0])
    torch.backends.cudnn.deterministic = before[1]


def setup(
    methods: Any,
    compiled: Compile = "auto",
    precision: Precision = "fp32",
    cache: Any = "off",
    optimizer: OptimizerSpec = SLOW,
) -> RunConfig:
    """Two stages, of batches of 8 and a last one of 4."""
    planned = tiny.stages(
        [(StageSpec(until=2), list(methods)), (StageSpec(until=4), ["kd"])], epochs=4, anchor=ReferenceKL()
    )
    wide = tiny.student(name="resnet8_w4") if AS_WIDE.intersection(map(str, methods)) else None
    made = tiny.setup(planned, optimizer=optimizer, batch_size=8, device="cuda", learner=wide)
    made.student.to(memory_format=torch.channels_last)
    return replace(
        made,
        compute=ComputeConfig(precision, compiled),
        cache=CacheConfig(cache),
        augmentation_space=made.train.augmentation_space,  # type: ignore[attr-defined]
    )


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
@pytest.mark.parametrize("optimizer", [SLOW, OptimizerSpec(name="adamw", learning_rate=1e-3)], ids=["sgd", "adamw"])
def test_resume_is_exact(precision: Precision, cache: Any, optimizer: OptimizerSpec, tmp_path: Path) -> None:
    def made() -> RunConfig:
        return setup([tiny.SMALL_CRD, "kd"], "auto", precision, cache, optimizer)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    tiny.trained(made(), whole)
    reports = run(made(), RunFolder(parts))
    list(islice(reports, 1))
    reports.close()
    tiny.trained(made(), parts)
    assert replayed(whole) == [True, True]
    assert tiny.outcome(parts) == tiny.outcome(whole)


@pytest.mark.parametrize("cache", ["off", "memory"])
def test_no_step_waits_for_the_device(cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first of all, in which things come about that come about once."""
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
    assert calls == 4 * 8


def test_compiled_steps_are_replayed_too(tmp_path: Path) -> None:
    plain = tiny.trained(setup(["kd"], "off"), tmp_path / "plain")
    fast = tiny.trained(setup(["kd"], "on"), tmp_path / "fast")
    assert replayed(tmp_path / "fast") == [True, True]
    for one, other in zip(fast, plain, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-3)


class DrawsOnTheCpu(Method):
    """Weighs its loss by a number that Python draws."""

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        return Reads(("logits",), ("logits",))

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        return {"loss": float(torch.rand(())) * (student.logits - teacher.logits).square().mean()}


class Drops(DrawsOnTheCpu):
    """Leaves out some logits, drawn on the device."""

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        return {"loss": nn.functional.dropout(student.logits - teacher.logits).square().mean()}


class Waits(Drops):
    """Does the same, and then waits for the device."""

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        losses = super().loss(student, teacher, batch, state)
        float(losses["loss"].detach())
        return losses


@pytest.mark.parametrize(("method", "works"), [(DrawsOnTheCpu(), False), (Drops(), True), (Waits(), False)])
def test_what_cannot_be_recorded_is_trained_as_it_is(method: Method, works: bool, tmp_path: Path) -> None:
    weighed = WeightedMethod("own", method, 1.0)
    plain = tiny.trained(setup([weighed], "off"), tmp_path / "plain")
    fast = tiny.trained(setup([weighed]), tmp_path / "fast")
    assert replayed(tmp_path / "fast") == [works, True]
    check_near(fast, plain)


def test_networks_are_folded_though_products_are_rounded() -> None:
    allow_tf32(True)
    teacher = tiny.teacher().to("cuda")
    assert Frozen(adapt(copy.deepcopy(teacher), tiny.EXAMPLE.to("cuda")), tiny.EXAMPLE.to("cuda")).folds
    assert torch.backends.cudnn.allow_tf32
