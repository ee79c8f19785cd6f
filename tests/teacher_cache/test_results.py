"""A cache changes results only by rounding the teacher's outputs to float16."""

from pathlib import Path

import pytest
import torch

from smskd.config.runtime import ComputeConfig
from smskd.config.stage import StageConfig
from smskd.interfaces.features import LOGITS
from smskd.interfaces.terms import WeightedMethod
from smskd.methods.rkd import RKD
from smskd.models.frozen import Frozen
from tests.support import cached, tiny

METHODS: list[tiny.Methods] = [["kd"], ["pkt"], ["kd", WeightedMethod("rkd", RKD(), 0.02)], [tiny.SMALL_CRD]]
STAGES: list[tuple[StageConfig, tiny.Methods]] = [
    (StageConfig(ends_after=2), ["fitnet"]),
    (StageConfig(ends_after=4), ["kd"]),
]


@pytest.mark.parametrize("methods", METHODS, ids=str)
def test_losses_over_8_steps(methods: tiny.Methods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cached.losses(cached.objective(methods), 8)
    kept = {
        mode: cached.losses(cached.objective(methods, cached.options(mode, tmp_path)), 8)
        for mode in ("memory", "disk", "replay")
    }
    assert kept["memory"] == kept["disk"] == kept["replay"]
    assert kept["memory"] == pytest.approx(plain, rel=cached.ROUNDING)
    assert kept["memory"] != plain, "rounding to float16 must be visible, or the cache was not used"
    extract = Frozen.extract
    monkeypatch.setattr(
        Frozen,
        "extract",
        lambda *arguments: {name: value.half().float() for name, value in extract(*arguments).items()},
    )
    assert kept["memory"] == pytest.approx(cached.losses(cached.objective(methods), 8), rel=2e-5)


def test_the_outputs_are_the_rounded_outputs_of_the_teacher(tmp_path: Path) -> None:
    teacher = cached.frozen_teacher()
    kept = cached.cache(teacher, cached.options("disk", tmp_path))
    for batch in [*cached.batches(4), *cached.batches(4)]:
        found = kept.read(batch, [LOGITS, "pooled"])
        assert found is not None
        plain = teacher.extract(batch.x, [LOGITS, "pooled"])
        for name in (LOGITS, "pooled"):
            assert found[name].dtype == torch.float32
            torch.testing.assert_close(found[name], plain[name], rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_of_a_whole_run(mode: str, tmp_path: Path) -> None:
    plain = tiny.trained(tiny.built(tiny.recipe(STAGES, epochs=4)), tmp_path / "plain")
    teacher = cached.teacher_config(mode, tmp_path / "cache")
    kept = tiny.trained(tiny.built(tiny.recipe(STAGES, epochs=4, teacher=teacher)), tmp_path / "kept")
    assert [report.losses for report in kept[:2]] == [report.losses for report in plain[:2]]
    assert [report.test_top1 for report in kept] == [report.test_top1 for report in plain]
    for one, other in zip(kept, plain, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=cached.ROUNDING)
    assert [report.losses for report in kept[2:]] != [report.losses for report in plain[2:]], "the cache was not used"
    assert [report.cache_hits is None for report in kept] == [True, True, False, False]
    assert all("cache_hits" not in line for line in tiny.metrics(tmp_path / "plain"))
    assert "cache" in str(kept[-1])


def test_compiled_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smskd.models.compiled.BACKEND", "eager")
    teacher = cached.teacher_config("memory", tmp_path)
    eager, compiled = (
        tiny.trained(tiny.built(tiny.recipe(STAGES[1:], epochs=4, teacher=teacher, compile=mode)), tmp_path / mode)
        for mode in ("off", "on")
    )
    for one, other in zip(eager, compiled, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-6)
        assert one.cache_hits == other.cache_hits
    assert tiny.summary(tmp_path / "on")["stages"][0]["cost"]["compiled"] == ["student"]


def test_in_mixed_precision(tmp_path: Path) -> None:
    compute = ComputeConfig(precision="bf16")
    chosen = cached.options("disk", tmp_path)
    first = cached.losses(cached.objective(chosen=chosen), 7, compute)
    assert first == pytest.approx(cached.losses(cached.objective(), 7, compute), rel=0.02)
    assert cached.losses(cached.objective(chosen=chosen), 7, compute) == first


def test_replay_keeps_the_largest_logits_and_the_probability_of_the_others(tmp_path: Path) -> None:
    teacher = cached.frozen_teacher()
    kept = cached.cache(teacher, cached.options("replay", tmp_path, top=3))
    (batch,) = cached.batches(1)
    plain = teacher(batch.x)
    largest = plain.topk(3, dim=1)
    for _ in range(2):
        found = kept.read(batch, [LOGITS])
        assert found is not None
        logits = found[LOGITS]
        torch.testing.assert_close(logits.gather(1, largest.indices), largest.values, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(
            logits.softmax(1).gather(1, largest.indices),
            plain.softmax(1).gather(1, largest.indices),
            rtol=5e-3,
            atol=1e-4,
        )
        others = logits.scatter(1, largest.indices, -torch.inf)
        others = others[others.isfinite()].view(len(logits), -1)
        assert torch.equal(others, others[:, :1].expand_as(others))
    assert kept.share_of_hits() == 0.5
