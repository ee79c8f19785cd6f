"""`smskd.distill(teacher_cache=...)` on map-style data sets: images that recur, and images that only seem to."""

import random
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from smskd import CacheConfig, LoaderConfig, ScheduleConfig, UserError
from smskd.data import Augmentation, StreamingLoader
from smskd.models.frozen import Frozen
from smskd.teacher_cache.folder import SEED
from tests.support import own_data, tiny
from tests.support.own_data import TorchvisionLike, network

SCHEDULE = ScheduleConfig(decay_at=(2,))


class Shifted:
    """Images with random transforms of their own, brightness and shift, which draw from Python, numpy and torch.

    Args:
        part: of the digits, ``train`` or ``test``.
        kind: ``float`` or ``bytes``, the type of the images.
        strength: of the transform.
    """

    def __init__(self, part: str, kind: str = "float", strength: float = 0.1) -> None:
        self.images = getattr(tiny.digits(), part)
        self.kind, self.strength = kind, strength

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images[index]
        shifted = image.roll(random.randint(0, 1), 2).float() / 255
        shifted = (shifted + self.strength * (float(np.random.rand()) + torch.rand(()))).clamp(0, 1)
        return shifted if self.kind == "float" else (255 * shifted).to(torch.uint8), label


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images that the teacher was run on, except for its probe."""
    found: list[int] = []
    extract = Frozen.extract

    def counted(self: Frozen, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        if len(x) > 2:
            found.append(len(x))
        return extract(self, x, names)

    monkeypatch.setattr(Frozen, "extract", counted)
    return found


def distilled(cache: Any, **changes: Any) -> tuple[dict[str, Tensor], list[Any]]:
    """The student's weights and the reports."""
    reports: list[Any] = []
    options: dict[str, Any] = {
        "stages": ["kd"],
        "train": Shifted("train"),
        "test": TorchvisionLike("test"),
        "epochs": 3,
        "schedule": SCHEDULE,
        "teacher_cache": cache,
        "on_epoch": reports.append,
        **changes,
    }
    result = own_data.distilled(**options)
    return tiny.bits(result.student), reports


def hits(reports: list[Any]) -> list[float | None]:
    return [report.cache_hits for report in reports]


class TestReplay:
    def test_a_later_run_replays_it(self, tmp_path: Path, seen: list[int]) -> None:
        options = CacheConfig("replay", str(tmp_path))
        first, reports = distilled(options)
        assert hits(reports) == [0.0, 0.0, 0.0]
        seen.clear()
        second, reports = distilled(options)
        assert hits(reports) == [1.0, 1.0, 1.0]
        rehearsal = [tiny.BATCH, tiny.TEST]
        assert seen == [*rehearsal, tiny.TEST], "the teacher was run for more than the rehearsal and its accuracy"
        assert tiny.same(first, second)

    def test_it_is_the_run_without_it_but_for_rounding(self, tmp_path: Path) -> None:
        reports = [distilled(cache)[1] for cache in ("off", CacheConfig("replay", str(tmp_path)))]
        for plain, kept in zip(*reports, strict=True):
            assert kept.losses == pytest.approx(plain.losses, rel=2e-3)

    def test_a_run_of_another_seed_replays_the_images_of_the_first(self, tmp_path: Path, seen: list[int]) -> None:
        options = CacheConfig("replay", str(tmp_path))
        first, _ = distilled(options)
        other, reports = distilled(options, seed=5, student=network(2, seed=3))
        assert hits(reports) == [1.0, 1.0, 1.0]
        assert not tiny.same(first, other)
        assert len(list(tmp_path.rglob(SEED))) == 1

    def test_a_longer_run_goes_on_from_it(self, tmp_path: Path) -> None:
        options = CacheConfig("replay", str(tmp_path))
        distilled(options)
        assert hits(distilled(options, epochs=5)[1]) == [1.0, 1.0, 1.0, 0.0, 0.0]
        assert hits(distilled(options)[1]) == [1.0, 1.0, 1.0]

    @pytest.mark.parametrize("workers", [0, 1])
    def test_workers_load_the_same_images(self, workers: int, tmp_path: Path) -> None:
        options = CacheConfig("replay", str(tmp_path))
        first, _ = distilled(options, epochs=1)
        again, reports = distilled(options, epochs=1, loader=LoaderConfig(workers=workers))
        assert hits(reports) == [1.0]
        assert tiny.same(first, again)

    @pytest.mark.parametrize(
        "changes",
        [
            {"batch_size": 15},
            {"teacher": network(4, seed=9)},
            {"train": Shifted("train", strength=0.2)},
            {"train": Shifted("train", kind="bytes")},
        ],
        ids=["batches", "teacher", "transform", "bytes"],
    )
    def test_nothing_is_taken_from_other_outputs(self, changes: dict[str, Any], tmp_path: Path) -> None:
        options = CacheConfig("replay", str(tmp_path))
        distilled(options)
        expected, _ = distilled(CacheConfig("replay", str(tmp_path / "empty")), **changes)
        weights, reports = distilled(options, **changes)
        assert hits(reports) == [0.0, 0.0, 0.0]
        assert tiny.same(weights, expected)

    def test_images_that_change_unseeded_are_detected(self, tmp_path: Path, seen: list[int]) -> None:
        """Such as images whose transform draws from an unseeded generator of its own."""

        class Unseeded(Shifted):
            def __getitem__(self, index: int) -> tuple[Tensor, int]:
                image, label = self.images[index]
                random_part = 0.0 if index in (0, 30, 59) else float(generator.random())
                return image.float() / 255 + random_part, label

        generator = np.random.default_rng(0)
        options = CacheConfig("replay", str(tmp_path))
        distilled(options, train=Unseeded("train"))
        _, reports = distilled(options, train=Unseeded("train"))
        assert hits(reports) == [pytest.approx(3 / tiny.TRAIN)] * 3

    def test_few_logits_of_many(self, tmp_path: Path) -> None:
        options = CacheConfig("replay", str(tmp_path), top=4)
        first, _ = distilled(options)
        second, reports = distilled(options)
        assert hits(reports) == [1.0, 1.0, 1.0]
        assert tiny.same(first, second)
        assert hits(distilled(CacheConfig("replay", str(tmp_path), top=5))[1]) == [0.0, 0.0, 0.0]

    def test_a_damaged_seed_is_replaced(self, tmp_path: Path) -> None:
        options = CacheConfig("replay", str(tmp_path))
        first, _ = distilled(options)
        (file,) = tmp_path.rglob(SEED)
        for content in ("", "{}", "[3]", '{"seed": "x"}'):
            file.write_text(content, encoding="utf-8")
            again, reports = distilled(options)
            assert hits(reports) == [1.0, 1.0, 1.0], content
            assert tiny.same(first, again)

    def test_resume_is_exact_and_keeps_the_seed(self, tmp_path: Path) -> None:
        options = CacheConfig("replay", str(tmp_path / "cache"))
        distilled(options)
        changes = {"seed": 4, "epochs": 4}
        uninterrupted, _ = distilled(options, out=tmp_path / "one", **changes)

        def stop(report: Any) -> None:
            if report.epoch == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            distilled(options, out=tmp_path / "two", on_epoch=stop, **changes)
        for file in (tmp_path / "cache").rglob("*.rows"):
            file.unlink()
        resumed, reports = distilled(options, out=tmp_path / "two", resume=True, **changes)
        assert hits(reports) == [0.0, 0.0]
        assert tiny.same(uninterrupted, resumed)

    def test_resume_without_the_recorded_seed_is_refused(self, tmp_path: Path) -> None:
        distilled(CacheConfig("replay", str(tmp_path / "cache")))
        changes = {"seed": 4, "out": tmp_path / "run"}
        distilled(CacheConfig("replay", str(tmp_path / "cache")), **changes)
        with pytest.raises(UserError, match=r"was begun with other fingerprints\.loader_seed"):
            distilled(CacheConfig("replay", str(tmp_path / "elsewhere")), resume=True, **changes)


class TestCountableVariants:
    augmentation = Augmentation(mean=(0.3,), std=(0.4,), padding=1, flip=False)

    @pytest.mark.parametrize("mode", ["memory", "disk"])
    def test_pil_images(self, mode: Any, tmp_path: Path) -> None:
        common = {"train": TorchvisionLike("train"), "augmentation": self.augmentation, "epochs": 4}
        first, reports = distilled(CacheConfig(mode, str(tmp_path)), **common)
        assert hits(reports)[0] == 0.0
        assert all(share is not None and 0 < share < 1 for share in hits(reports)[1:])
        second, reports = distilled(CacheConfig(mode, str(tmp_path)), **common)
        assert (hits(reports) == [1.0] * 4) == (mode == "disk")
        assert tiny.same(first, second)

    def test_images_in_memory_and_streamed_give_the_same(self, tmp_path: Path) -> None:
        both = [
            distilled(CacheConfig("disk", str(tmp_path)), train=train, augmentation=self.augmentation)[0]
            for train in (tiny.digits().train, TorchvisionLike("train"))
        ]
        assert tiny.same(*both)

    @pytest.mark.parametrize("mode", ["memory", "disk"])
    def test_random_bytes_are_never_taken_for_each_other(self, mode: Any, tmp_path: Path) -> None:
        """Each image has other contents every time, so nothing is ever found."""
        common = {"train": Shifted("train", kind="bytes", strength=0.4), "augmentation": self.augmentation}
        _, reports = distilled(CacheConfig(mode, str(tmp_path)), **common)
        assert all(share is not None and share < 0.1 for share in hits(reports))
        plain, kept = (distilled(cache, **common)[1] for cache in ("off", CacheConfig(mode, str(tmp_path))))
        for one, other in zip(plain, kept, strict=True):
            assert other.losses == pytest.approx(one.losses, rel=2e-3)

    @pytest.mark.parametrize("mode", ["memory", "disk"])
    def test_floats_cannot_be_counted(self, mode: Any, tmp_path: Path) -> None:
        _, reports = distilled(CacheConfig(mode, str(tmp_path)))
        assert hits(reports) == [None] * len(reports)
        assert not list(tmp_path.iterdir())

    def test_by_name_in_the_default_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SMSKD_CACHE", str(tmp_path))
        for _ in range(2):
            _, reports = distilled("disk", train=TorchvisionLike("train"))
        assert hits(reports) == [1.0, 1.0, 1.0]
        assert len(list(tmp_path.glob("*/logits.rows"))) == 1
        with pytest.raises(UserError, match=r"must be .*'disk'.* not 'discs'"):
            distilled("discs")

    def test_without_checksums_a_loader_gives_no_keys(self) -> None:
        for checksums in (False, True):
            loader = StreamingLoader(TorchvisionLike("train"), tiny.CLASSES, tiny.BATCH, checksums=checksums)
            assert [group.batch.keys is not None for group in loader.groups(1)] == [checksums] * 3
        plain = StreamingLoader(TorchvisionLike("train"), tiny.CLASSES, tiny.BATCH)
        for one, other in zip(plain.epoch(1), loader.epoch(1), strict=True):
            assert torch.equal(one.x, other.x)
