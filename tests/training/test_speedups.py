"""Each speed-up changes no result beyond rounding, and a run is resumed exactly with any of them."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.cache import CacheMode
from smskd.config.runtime import Compile, Precision
from smskd.config.stage import StageConfig
from smskd.models import frozen
from smskd.models.frozen import Frozen
from smskd.training import optimizer as optim
from smskd.training.config import RunConfig
from smskd.training.step import Step
from tests.support import tiny
from tests.support.nearly_equal import SLOW, cached_teacher

EPOCHS = 8
"""Of 3 steps each: more than 20 in all."""


def fast(**runtime: Any) -> RunConfig:
    """As a recipe is built: the student in channels-last format."""
    stages: list[tuple[StageConfig, tiny.Methods]] = [
        (StageConfig(ends_after=4), ["fitnet", tiny.SMALL_CRD]),
        (StageConfig(), ["kd"]),
    ]
    made = tiny.built(tiny.recipe(stages, epochs=EPOCHS, anchor=ReferenceKL(), optimizer=SLOW, **runtime))
    convolution = next(weight for weight in made.student.parameters() if weight.dim() == 4 and weight.shape[1] > 1)
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    return made


def contiguous() -> RunConfig:
    made = fast()
    made.student.to(memory_format=torch.contiguous_format)
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
        patch.setattr("smskd.training.run.rehearse", lambda config: None)  # its steps do not count
        reports = tiny.trained(made, folder)
    return losses, [report.test_top1 for report in reports]


def without_folding(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(frozen, "folded", lambda model, example: None)


def without_fused_update(patch: pytest.MonkeyPatch) -> None:
    sgd = torch.optim.SGD
    patch.setattr(optim.torch.optim, "SGD", lambda *some, fused, **more: sgd(*some, **more))


def without_frozen_channels_last(patch: pytest.MonkeyPatch) -> None:
    prepare = Frozen._prepare

    def contiguous_prepare(self: Frozen, model: Any) -> None:
        prepare(self, model)
        self._running.to(memory_format=torch.contiguous_format)

    patch.setattr(Frozen, "_prepare", contiguous_prepare)


def without_stopping_early(patch: pytest.MonkeyPatch) -> None:
    extract = Frozen.extract

    def everything(self: Frozen, x: torch.Tensor, names: Any) -> dict[str, torch.Tensor]:
        found = extract(self, x, (*self.model.feature_names, "logits"))
        return {name: found[name] for name in names}

    patch.setattr(Frozen, "extract", everything)


CUTS = (
    without_folding,
    without_fused_update,
    without_frozen_channels_last,
    without_stopping_early,
)


def check_same(one: tuple[list[float], list[float]], other: tuple[list[float], list[float]]) -> None:
    assert len(one[0]) == 3 * EPOCHS
    assert one[0] == pytest.approx(other[0], rel=2e-5)
    assert one[1] == other[1]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], list[float]]:
    with pytest.MonkeyPatch.context() as patch:
        return of_steps(fast(), tmp_path_factory.mktemp("usual"), patch)


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
def test_each_alone(
    cut: Callable[[pytest.MonkeyPatch], None],
    usual: tuple[list[float], list[float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut(monkeypatch)
    check_same(of_steps(fast(), tmp_path, monkeypatch), usual)


def test_all_of_them(usual: tuple[list[float], list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with a contiguous student."""
    for cut in CUTS:
        cut(monkeypatch)
    check_same(of_steps(contiguous(), tmp_path, monkeypatch), usual)


def test_a_compiled_student(
    usual: tuple[list[float], list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smskd.models.compiled.BACKEND", "aot_eager")
    monkeypatch.setattr("smskd.models.compiled_frozen._compile", lambda graph, images: graph)
    compiled = of_steps(fast(compile="on"), tmp_path, monkeypatch)
    stages = tiny.summary(tmp_path)["stages"]
    assert ["student" in stage["cost"]["compiled"] for stage in stages] == [True, True]
    check_same(compiled, usual)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_is_near(
    precision: Precision, usual: tuple[list[float], list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From its usual scale float16 comes down by leaving out the first steps, whose gradients overflow.
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=8.0))
    mixed = of_steps(fast(precision=precision), tmp_path, monkeypatch)
    assert mixed[0] == pytest.approx(usual[0], rel=0.05)
    assert mixed[0] != usual[0]


@pytest.mark.parametrize(
    ("precision", "compiled", "cache"),
    [
        ("fp32", "off", "off"),
        ("fp32", "on", "memory"),
        ("fp32", "auto", "disk"),
        ("bf16", "off", "memory"),
        ("bf16", "on", "disk"),
        ("bf16", "auto", "off"),
        ("fp16", "off", "disk"),
        ("fp16", "on", "off"),
        ("fp16", "auto", "memory"),
    ],
)
def test_resume_is_exact(
    precision: Precision, compiled: Compile, cache: CacheMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pair of two settings comes up once."""
    monkeypatch.setattr("smskd.models.compiled.BACKEND", "aot_eager")
    monkeypatch.setattr("smskd.training.compute_policy.WORTHWHILE", 0)
    monkeypatch.setattr("smskd.training.compute_policy.TRAINING_WORTHWHILE", 0)
    monkeypatch.setattr("smskd.models.compiled_frozen._compile", lambda graph, images: graph)

    def made(cache_folder: str) -> RunConfig:
        stages = [(StageConfig(ends_after=3), [tiny.SMALL_CRD, "kd"]), (StageConfig(), ["kd"])]
        teacher = cached_teacher(cache, str(tmp_path / cache_folder))
        return tiny.built(
            tiny.recipe(stages, epochs=4, anchor=ReferenceKL(), teacher=teacher, precision=precision, compile=compiled)
        )

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    tiny.trained(made("one"), whole)
    reports = tiny.epochs_of(made("other"), parts)
    list(islice(reports, 2))
    reports.close()
    rest = tiny.trained(made("other"), parts)
    assert [report.epoch for report in rest] == [3, 4]
    assert tiny.outcome(parts) == tiny.outcome(whole)
