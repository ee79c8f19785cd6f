"""Which outputs are looked up, which are computed, and what these do not depend on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from smskd import models
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import StageConfig
from smskd.data import Images, MemoryLoader
from smskd.interfaces.batch import SampleKeys
from smskd.interfaces.features import LOGITS
from smskd.models import describe
from smskd.models.frozen import Frozen
from smskd.teacher_cache import CacheConfig, cacheable
from smskd.teacher_cache.chunks import CHUNKS, extract_in_chunks
from smskd.teacher_cache.record_index import ByVariant
from tests.support import cached, tiny
from tests.support.cached import Calls

KD_STAGE: list[tuple[StageConfig, tiny.Methods]] = [(StageConfig(ends_after=2), ["kd"])]


class TestHits:
    @pytest.mark.parametrize("mode", ["memory", "disk", "replay"])
    def test_known_outputs_are_not_computed_again(self, mode: str, tmp_path: Path, calls: Calls) -> None:
        made = cached.objective(["kd", "rkd"], cached.options(mode, tmp_path))
        kept = cached.cache_in(made)
        for batch in cached.batches(3):
            made(batch)
        assert kept.share_of_hits() == 0.0
        assert kept.share_of_hits() is None
        calls.clear()
        for batch in cached.batches(3):
            made(batch)
        assert calls.images == []
        assert kept.share_of_hits() == 1.0

    def test_only_missing_images_go_through_the_teacher(self, calls: Calls) -> None:
        kept = cached.cache(cached.frozen_teacher())
        (batch,) = cached.batches(1)
        kept.read(cached.samples_of(batch, slice(0, 13)), [LOGITS])
        calls.clear()
        whole = kept.read(batch, [LOGITS])
        assert calls.images == [CHUNKS["cpu"]]
        assert kept.share_of_hits() == pytest.approx(13 / (13 + tiny.BATCH))
        expected = cached.cache(cached.frozen_teacher()).read(batch, [LOGITS])
        assert whole is not None
        assert expected is not None
        assert torch.equal(whole[LOGITS], expected[LOGITS])

    def test_other_runs_find_it_on_disk(self, tmp_path: Path, calls: Calls) -> None:
        recipe = tiny.recipe(KD_STAGE, epochs=2, teacher=cached.teacher_config("disk", tmp_path / "cache"))
        tiny.trained(tiny.built(recipe), tmp_path / "one")
        made = tiny.built(recipe)
        calls.clear()
        reports = tiny.trained(made, tmp_path / "two")
        assert [report.cache_hits for report in reports] == [1.0, 1.0]
        rehearsal = tiny.BATCH + tiny.TEST
        assert sum(calls.images) == 2 + rehearsal + tiny.TEST, "it was run for more than probe, rehearsal and accuracy"
        assert tiny.outcome(tmp_path / "one") == tiny.outcome(tmp_path / "two")

        other_seed = tiny.recipe(KD_STAGE, epochs=2, teacher=recipe.teacher, seed=3)
        reports = tiny.trained(tiny.built(other_seed), tmp_path / "three")
        assert all(report.cache_hits is not None and 0 < report.cache_hits < 1 for report in reports)

    def test_the_result_does_not_depend_on_the_contents_of_the_cache(self) -> None:
        """Whichever images were missing together: sums are rounded alike."""
        expected = cached.losses(cached.objective(chosen=CacheConfig("memory")), 9)
        generator = torch.Generator().manual_seed(0)
        for attempt in range(3):
            made = cached.objective(chosen=CacheConfig("memory"))
            for batch in cached.batches(9):
                size = int(torch.randint(1, tiny.BATCH, (), generator=generator))
                rows = torch.randperm(tiny.BATCH, generator=generator)[:size]
                cached.cache_in(made).read(cached.samples_of(batch, rows), [LOGITS])
            assert cached.losses(made, 9) == expected, f"attempt {attempt}"

    def test_not_even_before_rounding(self) -> None:
        """With a network whose sums are rounded differently in batches of different sizes."""
        torch.manual_seed(0)
        network = models.create("MobileNetV2", classes=tiny.CLASSES, channels=3, image_size=(32, 32))
        x = torch.randn(2 * CHUNKS["cpu"], 3, 32, 32)
        with torch.no_grad():
            network.train()(x)
        teacher = Frozen(network, x[:1])
        whole, sizes = chunked(teacher, x), (1, 2, 5, 11)
        assert any(not torch.equal(teacher(x[:size]), whole[:size]) for size in sizes), "the network cannot show it"
        for size in sizes:
            assert torch.equal(chunked(teacher, x[:size]), whole[:size])
            assert torch.equal(chunked(teacher, x[size:]), whole[size:])
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        assert torch.equal(chunked(teacher, x[order]), whole[order])

    @pytest.mark.parametrize("methods", [["fitnet"], ["kd", "at"], ["mlkd"]], ids=str)
    def test_a_stage_that_reads_more_runs_the_teacher(self, methods: list[str], calls: Calls) -> None:
        made, plain = cached.objective(methods, CacheConfig("memory")), cached.objective(methods)
        assert not made.frozen.cached
        groups = [group for _ in range(2) for group in tiny.loader().groups(1, views=made.views)]
        for group in groups:
            calls.clear()
            total = made(group.batch).total
            assert set(calls.images) == {tiny.BATCH}
            assert torch.equal(total, plain(group.batch).total)
        assert cached.cache_in(made).share_of_hits() is None

    def test_cacheable_taps(self) -> None:
        layout = describe(tiny.teacher(), tiny.SHAPE)
        assert cacheable([LOGITS], layout) == {LOGITS}
        assert cacheable(["pooled", LOGITS], layout) == {LOGITS, "pooled"}
        for taps in ([], ["stage1"], [LOGITS, "stage3"], [LOGITS, "logits@strong"], ["stage3.preact"]):
            assert cacheable(taps, layout) == frozenset(), taps

    def test_an_anchor_that_reads_the_teacher_is_served(self, tmp_path: Path) -> None:
        recipe = tiny.recipe(
            [(StageConfig(ends_after=1), ["fitnet"]), (StageConfig(ends_after=3), [])],
            epochs=3,
            anchor=ReferenceKL(tcp_from="teacher"),
            teacher=cached.teacher_config("memory", tmp_path),
        )
        reports = tiny.trained(tiny.built(recipe), tmp_path / "run")
        assert [report.cache_hits is None for report in reports] == [True, False, False]

    def test_without_a_stage_that_can_use_it_there_is_none(self, tmp_path: Path) -> None:
        stages: list[tuple[StageConfig, tiny.Methods]] = [(StageConfig(ends_after=1), ["fitnet"])]
        recipe = tiny.recipe(stages, epochs=1, teacher=cached.teacher_config("disk", tmp_path / "cache"))
        tiny.trained(tiny.built(recipe), tmp_path / "run")
        assert not (tmp_path / "cache").exists()

    def test_a_batch_without_keys_goes_through_the_teacher(self, calls: Calls) -> None:
        made = cached.objective(chosen=CacheConfig("memory"))
        (batch,) = cached.batches(1)
        expected = cached.objective()(batch).total
        for _ in range(2):
            calls.clear()
            assert torch.equal(made((batch.x, batch.y)).total, expected)
            assert set(calls.images) == {tiny.BATCH}


class TestKeys:
    def test_a_loader_gives_the_keys_of_its_images(self) -> None:
        loader, augmentation, train = tiny.loader(), tiny.digits().augmentation(), tiny.digits().train
        assert isinstance(train, Images)
        for group in loader.groups(4):
            batch, keys = group.batch, group.batch.keys
            assert keys is not None
            assert keys.variant is not None
            assert keys.content is None
            assert keys.epoch == 4
            images = augmentation.apply(train.pixels[keys.index], keys.variant)
            assert torch.equal(batch.x, images)

    def test_other_data_or_another_augmentation_is_another_space(self) -> None:
        train, augmentation = tiny.digits().train, tiny.digits().augmentation()
        assert isinstance(train, Images)
        spaces = [
            MemoryLoader(train, tiny.BATCH, replace(augmentation, **changes)).augmentation_space
            for changes in ({}, {"padding": 2}, {"flip": True}, {"mean": (0.1,)})
        ]
        assert [space.variants for space in spaces] == [9, 25, 18, 9]
        assert len({space.identity for space in spaces}) == len(spaces)
        subset = MemoryLoader(train.subset(30), tiny.BATCH, augmentation).augmentation_space
        assert subset.identity not in {space.identity for space in spaces}

    def test_different_images_have_different_records(self) -> None:
        index = ByVariant(samples=60, variants=9)
        keys = SampleKeys(torch.arange(60).repeat_interleave(9), 1, torch.arange(9).repeat(60))
        records = index.records(keys)
        assert records is not None
        assert sorted(records.tolist()) == list(range(index.count))


def chunked(teacher: Frozen, x: torch.Tensor) -> torch.Tensor:
    return extract_in_chunks(teacher, x, [LOGITS], CHUNKS["cpu"], x[:1], {})[LOGITS]
