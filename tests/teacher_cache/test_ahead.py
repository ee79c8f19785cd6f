"""A cache that is filled before training: when, with what, and that results are the same."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd.config.stage import StageConfig
from smskd.data import MemoryLoader
from smskd.errors import UserError
from smskd.interfaces.features import LOGITS
from smskd.models.frozen import Frozen
from smskd.runs.folder import RunFolder
from smskd.teacher_cache import TeacherCache
from smskd.teacher_cache.ahead import chunks_of_filling, chunks_of_misses, fill, share_filled
from smskd.teacher_cache.storage import FileStorage
from smskd.training.config import RunConfig
from smskd.training.reports import CacheReport, EpochReport
from smskd.training.run import run
from tests.support import cached, tiny
from tests.support.cached import Calls

KD_STAGE: list[tuple[StageConfig, tiny.Methods]] = [(StageConfig(ends_after=2), ["kd"])]


def filled(kept: TeacherCache, loader: MemoryLoader, start: int = 0) -> None:
    space = loader.augmentation_space
    assert space.variants is not None
    fill(kept, loader, space.samples, space.variants, context=nullcontext, track=lambda items, _: items, start=start)


def built(tmp_path: Path, *, after: int = 0, **changes: Any) -> RunConfig:
    teacher = cached.teacher_config("disk", tmp_path / "cache", **changes)
    return replace(tiny.built(tiny.recipe(KD_STAGE, epochs=2, teacher=teacher)), epochs_after=after)


def trained(config: RunConfig, folder: Path) -> tuple[list[EpochReport], CacheReport | None]:
    folder.mkdir()
    reports = list(run(config, RunFolder(folder)))
    (said,) = [report for report in reports if isinstance(report, CacheReport)] or [None]
    return [report for report in reports if isinstance(report, EpochReport)], said


@pytest.mark.parametrize(("chunk", "group", "held"), [(4, 10, 0.0), (16, 10, 0.0), (3, 12, 0.5)])
def test_the_number_of_chunks_is_that_of_a_simulation(chunk: int, group: int, held: float) -> None:
    samples, variants, epochs = 3000, 8, 12
    generator = torch.Generator().manual_seed(1)
    known = torch.rand(samples, variants, generator=generator) < held
    chunks = 0
    for _ in range(epochs):
        drawn = torch.randint(variants, (samples,), generator=generator)
        missing = ~known[torch.arange(samples), drawn]
        known[torch.arange(samples), drawn] = True
        chunks += sum(-(-int(each.sum()) // chunk) for each in missing.split(group))
    assert chunks_of_misses(samples, variants, chunk, group, epochs, held) == pytest.approx(chunks, rel=0.02)


def test_an_empty_cache_misses_all_images_of_the_first_epoch() -> None:
    assert chunks_of_misses(100, 5, 8, 20, 1) == pytest.approx(5 * 3)
    assert chunks_of_misses(100, 5, 8, 20, 0) == 0
    assert chunks_of_filling(100, 5, 8) == 63
    assert chunks_of_filling(100, 5, 8, filled=1.0) == 0


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_a_filled_cache_has_what_training_would_have_computed(mode: str, tmp_path: Path, calls: Calls) -> None:
    loader, expected = tiny.loader(), cached.logits_of(cached.cache(cached.frozen_teacher()))
    kept = cached.cache(cached.frozen_teacher(), cached.options(mode, tmp_path))
    filled(kept, loader)
    space = loader.augmentation_space
    assert space.variants is not None
    assert share_filled(kept, space.samples, space.variants) == 1.0
    calls.clear()
    found = cached.logits_of(kept)
    assert calls.images == []
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_what_another_process_has_computed_is_left_out(tmp_path: Path, calls: Calls) -> None:
    one, other = (cached.cache(cached.frozen_teacher(), cached.options("disk", tmp_path)) for _ in range(2))
    for batch in cached.batches(2):
        one.read(batch, one.names)
    filled(other, tiny.loader(), start=12345)
    calls.clear()
    filled(one, tiny.loader())
    assert calls.images == []


@pytest.mark.parametrize("ahead", ["always", "never"])
def test_of_a_whole_run(ahead: str, tmp_path: Path) -> None:
    lazy = tiny.trained(built(tmp_path, ahead="never"), tmp_path / "lazy")
    reports, said = trained(built(tmp_path / "other", ahead=ahead), tmp_path / "run")
    assert (said is not None and said.filled) == (ahead == "always")
    assert [report.losses for report in reports] == [report.losses for report in lazy]
    assert ([report.cache_hits for report in reports] == [1.0, 1.0]) == (ahead == "always")
    assert tiny.summary(tmp_path / "run")["digest"] == tiny.summary(tmp_path / "lazy")["digest"]


def test_auto_depends_on_the_runs_that_follow(tmp_path: Path) -> None:
    _, said = trained(built(tmp_path), tmp_path / "single")
    assert said is not None
    assert str(said).startswith("The teacher's cache was not filled ahead: that takes ")
    reports, said = trained(built(tmp_path / "another", after=2000), tmp_path / "first")
    assert [report.cache_hits for report in reports] == [1.0, 1.0]
    assert said is not None
    assert "the images missing in 2 epochs and 2000 of later runs would take about" in str(said)
    assert said.filling <= 0.9 * said.misses


def test_a_full_cache_is_not_filled_again(tmp_path: Path) -> None:
    trained(built(tmp_path, ahead="always"), tmp_path / "one")
    _, said = trained(built(tmp_path, ahead="always"), tmp_path / "two")
    assert said is not None
    assert (said.filled, said.filling, said.misses) == (False, 0, 0)


def test_a_cache_in_memory_is_not_read_by_later_runs(tmp_path: Path) -> None:
    teacher = cached.teacher_config("memory", tmp_path)
    config = replace(tiny.built(tiny.recipe(KD_STAGE, epochs=2, teacher=teacher)), epochs_after=2000)
    _, said = trained(config, tmp_path / "run")
    assert said is not None
    assert (said.filled, said.later) == (False, 0)


def test_outputs_that_no_epoch_reads_may_be_infinite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {
        (int(index), int(variant))
        for epoch in (1, 2)
        for group in tiny.loader().groups(epoch)
        for index, variant in zip(group.batch.keys.index, group.batch.keys.variant, strict=True)  # type: ignore[union-attr,arg-type]
    }
    lazy = tiny.trained(built(tmp_path, ahead="never"), tmp_path / "lazy")
    variants, unread = MemoryLoader.variants, False

    def infinite(self: MemoryLoader, index: Tensor, variant: Tensor) -> Any:
        nonlocal unread
        batch = variants(self, index, variant)
        for row, place in enumerate(zip(index.tolist(), variant.tolist(), strict=True)):
            if place not in drawn and not unread:
                batch.x[row], unread = torch.inf, True
        return batch

    monkeypatch.setattr(MemoryLoader, "variants", infinite)
    reports, said = trained(built(tmp_path / "other", ahead="always"), tmp_path / "run")
    assert [report.losses for report in reports] == [report.losses for report in lazy]
    assert said is not None
    assert said.failure is not None
    assert "not finite" in said.failure
    assert str(said) in tiny.summary(tmp_path / "run")["notes"]


def test_without_enough_memory_outputs_are_computed_as_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(MemoryLoader, "variants", full)
    reports, said = trained(built(tmp_path, ahead="always"), tmp_path / "run")
    assert len(reports) == 2
    assert said is not None
    assert str(said) == "The teacher's cache was not filled ahead: that was begun, but memory did not suffice."


def test_a_full_disk_ends_the_filling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    def full(*_: Any) -> None:
        raise UserError("the disk is full")

    lazy, _ = trained(built(tmp_path, ahead="never"), tmp_path / "lazy")
    config = built(tmp_path / "other", ahead="always")
    monkeypatch.setattr(FileStorage, "write", full)
    calls.clear()
    reports, said = trained(config, tmp_path / "run")
    assert said is not None
    assert str(said).endswith("that was begun, but the outputs cannot be written.")
    assert len(calls.images) < said.filling
    assert [report.losses for report in reports] == [report.losses for report in lazy]


@pytest.mark.parametrize("mode", ["off", "replay"])
def test_what_is_not_kept_by_variant_cannot_be_filled(mode: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"ahead: 'always' needs mode 'memory' or 'disk', not '{mode}'"):
        cached.options(mode, tmp_path, ahead="always")


def test_data_that_cannot_be_enumerated_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLoader, "enumerates_variants", False)
    _, said = trained(built(tmp_path, ahead="always"), tmp_path / "run")
    assert said is None
    assert any("the images are not in memory" in note for note in tiny.summary(tmp_path / "run")["notes"])


def test_the_outputs_are_those_of_the_frozen_teacher(tmp_path: Path) -> None:
    loader, teacher = tiny.loader(), cached.frozen_teacher()
    batch = loader.variants(torch.tensor([3, 3]), torch.tensor([0, 5]))
    kept = cached.cache(teacher)
    filled(kept, loader)
    found = kept.read(batch, [LOGITS])
    assert found is not None
    torch.testing.assert_close(found[LOGITS], Frozen.extract(teacher, batch.x, [LOGITS])[LOGITS], rtol=2e-3, atol=1e-4)
