"""What makes a step faster changes no result beyond rounding, and a run that is resumed is exact with any of it."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.runtime import Compile, ComputeConfig, Precision
from smskd.data import MemoryLoader
from smskd.models import frozen
from smskd.models.frozen import Frozen
from smskd.recipe import OptimizerSpec, StageSpec
from smskd.runs.folder import RunFolder
from smskd.teacher_cache import CacheConfig
from smskd.training import optimizer as optim
from smskd.training.config import RunConfig
from smskd.training.run import run
from smskd.training.step import Step
from tests.support import tiny

SLOW = OptimizerSpec(learning_rate=1e-3)
"""Fast training would make much of small differences."""

EPOCHS = 8
"""Of 3 steps each: more than 20 in all."""


def two_stages() -> tuple[Any, ...]:
    return tiny.stages(
        [(StageSpec(until=4), ["fitnet", tiny.SMALL_CRD]), (StageSpec(until=EPOCHS), ["kd"])],
        epochs=EPOCHS,
        anchor=ReferenceKL(),
    )


def fast() -> RunConfig:
    """As a recipe is assembled: the student in channels-last format."""
    made = tiny.setup(two_stages(), optimizer=SLOW)
    made.student.to(memory_format=torch.channels_last)
    return made


def of_steps(made: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """The loss of every step, and the accuracy after each epoch."""
    losses: list[float] = []
    call = Step.__call__

    def noted(self: Step, batch: Any) -> Any:
        result = call(self, batch)
        losses.append(float(result.total.detach()))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Step, "__call__", noted)
        reports = tiny.trained(made, folder)
    return losses, [report.test_top1 for report in reports]


def without_folding(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(frozen, "folded", lambda model, example: None)


def without_inference_mode(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "inference_mode", torch.no_grad)


def without_fused_update(patch: pytest.MonkeyPatch) -> None:
    sgd = torch.optim.SGD
    patch.setattr(optim.torch.optim, "SGD", lambda *some, fused, **more: sgd(*some, **more))


def without_frozen_channels_last(patch: pytest.MonkeyPatch) -> None:
    made = Frozen._copy_to_run

    def contiguous(self: Frozen) -> None:
        made(self)
        self._runs = (self._runs[0].to(memory_format=torch.contiguous_format),)

    patch.setattr(Frozen, "_copy_to_run", contiguous)


def without_stopping_early(patch: pytest.MonkeyPatch) -> None:
    extract = Frozen.extract

    def everything(self: Frozen, x: torch.Tensor, names: Any) -> dict[str, torch.Tensor]:
        found = extract(self, x, (*self.model.feature_names, "logits"))
        return {name: found[name] for name in names}

    patch.setattr(Frozen, "extract", everything)


CUTS = (
    without_folding,
    without_inference_mode,
    without_fused_update,
    without_frozen_channels_last,
    without_stopping_early,
)


def nothing(patch: pytest.MonkeyPatch) -> None:
    pass


def check_same(one: tuple[list[float], list[float]], other: tuple[list[float], list[float]]) -> None:
    assert len(one[0]) == 3 * EPOCHS
    assert one[0] == pytest.approx(other[0], rel=2e-5)
    assert one[1] == other[1]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
def test_without_a_cut_losses_and_accuracies_are_the_same(
    cut: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = of_steps(fast(), tmp_path / "with", monkeypatch)
    cut(monkeypatch)
    check_same(of_steps(fast(), tmp_path / "without", monkeypatch), with_it)


def test_without_all_of_them_and_with_a_contiguous_student_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_them = of_steps(fast(), tmp_path / "with", monkeypatch)
    for cut in CUTS:
        cut(monkeypatch)
    check_same(of_steps(tiny.setup(two_stages(), optimizer=SLOW), tmp_path / "without", monkeypatch), with_them)


def test_compiled_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smskd.models.compiled.BACKEND", "aot_eager")
    eager = of_steps(fast(), tmp_path / "eager", monkeypatch)
    compiled = of_steps(replace(fast(), compute=ComputeConfig(compile="on")), tmp_path / "compiled", monkeypatch)
    stages = tiny.summary(tmp_path / "compiled")["stages"]
    assert ["student" in stage["cost"]["compiled"] for stage in stages] == [True, True]
    check_same(compiled, eager)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_is_near(precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # From its usual scale float16 comes down by leaving out the first steps, whose gradients overflow.
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=8.0))
    whole = of_steps(fast(), tmp_path / "whole", monkeypatch)
    mixed = of_steps(replace(fast(), compute=ComputeConfig(precision)), tmp_path / "mixed", monkeypatch)
    assert mixed[0] == pytest.approx(whole[0], rel=0.05)
    assert mixed[0] != whole[0]


@contextmanager
def stopped(made: RunConfig, folder: Path, epochs: int) -> Iterator[None]:
    """A run that is left after some epochs."""
    folder.mkdir(exist_ok=True)
    reports = run(made, RunFolder(folder))
    list(islice(reports, epochs))
    reports.close()
    yield


@pytest.mark.parametrize("cache", ["off", "memory", "disk"])
@pytest.mark.parametrize("compiled", ["off", "on", "auto"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_resume_is_exact(
    precision: Precision, compiled: Compile, cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smskd.models.compiled.BACKEND", "aot_eager")
    monkeypatch.setattr("smskd.training.compute_policy.WORTHWHILE", 0)
    monkeypatch.setattr("smskd.training.compute_policy.TRAINING_WORTHWHILE", 0)
    monkeypatch.setattr("smskd.models.compiled._compile", lambda graph, pictures: graph)
    student: nn.Module = tiny.student().to(memory_format=torch.channels_last)

    def made(folder: Path) -> RunConfig:
        planned = tiny.stages(
            [(StageSpec(until=3), [tiny.SMALL_CRD, "kd"]), (StageSpec(until=4), ["kd"])], epochs=4, anchor=ReferenceKL()
        )
        setup = tiny.setup(planned, learner=copy.deepcopy(student))  # type: ignore[arg-type]
        assert isinstance(setup.train, MemoryLoader)
        options = CacheConfig(cache, folder / "cache")
        return replace(
            setup,
            compute=ComputeConfig(precision, compiled),
            cache=options,
            augmentation_space=setup.train.augmentation_space,
        )

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    tiny.trained(made(tmp_path / "one"), whole)
    with stopped(made(tmp_path / "other"), parts, 2):
        rest = tiny.trained(made(tmp_path / "other"), parts)
    assert [report.epoch for report in rest] == [3, 4]
    assert tiny.outcome(parts) == tiny.outcome(whole)
