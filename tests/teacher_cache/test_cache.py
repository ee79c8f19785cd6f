"""The cache of the teacher's outputs: it changes no result but by float16 rounding, and nothing in it is trusted."""

import copy
import json
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd import models
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.cache import default_folder
from smskd.config.runtime import ComputeConfig
from smskd.data import MemoryLoader
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, SampleKeys
from smskd.interfaces.features import LOGITS
from smskd.interfaces.terms import WeightedMethod
from smskd.methods.rkd import RKD
from smskd.models.frozen import Frozen
from smskd.objective.weighted_sum import Objective
from smskd.recipe import StageSpec
from smskd.runs.folder import RunFolder
from smskd.teacher_cache import CacheConfig, TeacherCache, cacheable, key_of
from smskd.teacher_cache import capacity as room
from smskd.teacher_cache.cache import CHUNKS
from smskd.teacher_cache.key import DESCRIPTION
from smskd.training.config import RunConfig
from smskd.training.run import run
from smskd.training.step import Step
from tests.support import tiny

METHODS: list[tiny.Methods] = [["kd"], ["pkt"], ["kd", WeightedMethod("rkd", RKD(), 0.02)], [tiny.SMALL_CRD]]

ROUNDING = 2e-3
"""Of a loss, from rounding logits to float16 and what training makes of it in 20 steps."""


@dataclass
class Calls:
    """How often the teacher was run, and on how many pictures."""

    teachers: list[Frozen] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)

    def clear(self) -> None:
        self.teachers.clear()
        self.pictures.clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    extract = Frozen.extract

    def counted(self: Frozen, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        found.teachers.append(self)
        found.pictures.append(len(x))
        return extract(self, x, names)

    monkeypatch.setattr(Frozen, "extract", counted)
    return found


def options(mode: Any, folder: Path) -> CacheConfig:
    return CacheConfig(mode, folder)


def cached(made: RunConfig, mode: Any, folder: Path) -> RunConfig:
    assert isinstance(made.train, MemoryLoader)
    return replace(made, cache=options(mode, folder), augmentation_space=made.train.augmentation_space)


def objective(methods: tiny.Methods = ("kd",), mode: Any = "off", folder: Path = Path()) -> Objective:
    made = Objective(tiny.student(), tiny.teacher(), example=tiny.EXAMPLE, data=tiny.loader().info)
    if mode != "off":
        made.cache = cache(made, mode, folder)
    torch.manual_seed(0)
    made.begin_stage(methods)
    return made


def cache(made: Objective, mode: Any = "memory", folder: Path = Path(), **changes: Any) -> TeacherCache:
    assert made.teacher is not None
    assert made.teacher_layout is not None
    chosen, augmentation_space = changes.pop("options", options(mode, folder)), tiny.loader().augmentation_space
    outputs, key = changes.pop("outputs", [LOGITS, "pooled"]), None
    if chosen.mode != "memory":
        key = key_of(
            made.teacher.model, augmentation_space, chosen, torch.device("cpu"), changes.pop("precision", "fp32")
        )
    arguments = {
        "orbit": augmentation_space,
        "options": chosen,
        "key": key,
        "epochs": 7,
        "example": tiny.EXAMPLE,
        **changes,
    }
    return TeacherCache(made.teacher, made.teacher_layout, outputs, **arguments)


def batches(count: int) -> Iterator[Batch]:
    epochs = (batch for epoch in range(1, count + 1) for batch in tiny.loader().epoch(epoch))
    yield from (batch for batch, _ in zip(epochs, range(count), strict=False))


def losses(made: Objective, steps: int, compute: ComputeConfig | None = None) -> list[float]:
    """Of slow training: fast training would make much of small differences."""
    step = Step(made, torch.optim.SGD(made.trainable(), lr=1e-3, momentum=0.9), compute or ComputeConfig())
    made.train()
    return [float(step(batch).total.detach()) for batch in batches(steps)]


def rows_file(folder: Path, name: str = LOGITS) -> Path:
    (file,) = folder.glob(f"*/{name}.rows")
    return file


class TestSameResults:
    @pytest.mark.parametrize("mode", ["memory", "disk", "replay"])
    @pytest.mark.parametrize("methods", METHODS, ids=str)
    def test_losses_over_20_steps(self, mode: str, methods: tiny.Methods, tmp_path: Path) -> None:
        plain, kept = losses(objective(methods), 20), losses(objective(methods, mode, tmp_path), 20)
        assert kept == pytest.approx(plain, rel=ROUNDING)
        assert kept != plain, "rounding to float16 has to be seen, or the cache was not used"

    @pytest.mark.parametrize("methods", METHODS, ids=str)
    def test_float16_is_all_that_makes_a_difference(
        self, methods: tiny.Methods, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = losses(objective(methods, "memory"), 20)
        extract = Frozen.extract
        monkeypatch.setattr(
            Frozen,
            "extract",
            lambda *arguments: {name: value.half().float() for name, value in extract(*arguments).items()},
        )
        assert kept == pytest.approx(losses(objective(methods), 20), rel=2e-5)

    def test_the_logits_are_those_of_the_teacher_rounded(self, tmp_path: Path) -> None:
        made = objective(mode="disk", folder=tmp_path)
        assert made.cache is not None
        assert made.teacher is not None
        for batch in [*batches(4), *batches(4)]:
            found = made.cache.read(batch, [LOGITS, "pooled"])
            assert found is not None
            plain = made.teacher.extract(batch.x, [LOGITS, "pooled"])
            for name in (LOGITS, "pooled"):
                assert found[name].dtype == torch.float32
                torch.testing.assert_close(found[name], plain[name], rtol=2**-10, atol=1e-6)

    @pytest.mark.parametrize("mode", ["memory", "disk"])
    def test_of_a_whole_run(self, mode: str, tmp_path: Path) -> None:
        planned = tiny.stages([(StageSpec(until=2), ["fitnet"]), (StageSpec(until=4), ["kd"])], epochs=4)
        plain = tiny.trained(tiny.setup(planned), tmp_path / "plain")
        kept = tiny.trained(cached(tiny.setup(planned), mode, tmp_path / "cache"), tmp_path / "kept")
        assert [report.losses for report in kept[:2]] == [report.losses for report in plain[:2]]
        assert [report.test_top1 for report in kept] == [report.test_top1 for report in plain]
        for one, other in zip(kept, plain, strict=True):
            assert one.losses == pytest.approx(other.losses, rel=ROUNDING)
        assert [report.cache_hits is None for report in kept] == [True, True, False, False]
        assert all("cache_hits" not in line for line in tiny.metrics(tmp_path / "plain"))
        assert "cache" in str(kept[-1])

    def test_compiled_it_is_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("smskd.models.compiled.BACKEND", "eager")
        compiled = losses(objective(mode="disk", folder=tmp_path), 7, ComputeConfig(compile="on"))
        assert compiled == pytest.approx(losses(objective(mode="memory"), 7), rel=1e-6)

    def test_in_mixed_precision(self, tmp_path: Path) -> None:
        compute = ComputeConfig(precision="bf16")
        first = losses(objective(mode="disk", folder=tmp_path), 7, compute)
        assert first == pytest.approx(losses(objective(), 7, compute), rel=0.02)
        assert losses(objective(mode="disk", folder=tmp_path), 7, compute) == first

    def test_replay_keeps_whole_logits_of_few_classes_and_the_largest_of_many(self, tmp_path: Path) -> None:
        made = objective()
        some = cache(made, options=CacheConfig("replay", tmp_path, top=3))
        (batch,) = batches(1)
        assert made.teacher is not None
        plain = made.teacher(batch.x)
        for _ in range(2):
            found = some.read(batch, [LOGITS])
            assert found is not None
            logits = found[LOGITS]
            largest = plain.topk(3, dim=1)
            torch.testing.assert_close(logits.gather(1, largest.indices), largest.values, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(logits.softmax(1).sum(1), torch.ones(len(logits)))
            torch.testing.assert_close(
                logits.softmax(1).gather(1, largest.indices),
                plain.softmax(1).gather(1, largest.indices),
                rtol=5e-3,
                atol=1e-4,
            )
            others = logits.scatter(1, largest.indices, -torch.inf)
            others = others[others.isfinite()].view(len(logits), -1)
            assert torch.equal(others, others[:, :1].expand_as(others))
        assert some.share_of_hits() == 0.5


class TestHits:
    @pytest.mark.parametrize("mode", ["memory", "disk", "replay"])
    def test_what_is_known_is_not_computed_again(self, mode: str, tmp_path: Path, calls: Calls) -> None:
        made = objective(["kd", "rkd"], mode, tmp_path)
        assert made.cache is not None
        first = [made(batch).total for batch in tiny.loader().epoch(1)]
        assert made.cache.share_of_hits() == 0.0
        assert made.cache.share_of_hits() is None
        calls.clear()
        again = [made(batch).total for batch in tiny.loader().epoch(1)]
        assert calls.pictures == []
        assert made.cache.share_of_hits() == 1.0
        assert len(again) == len(first)

    def test_only_what_is_missing_goes_through_the_teacher(self, calls: Calls) -> None:
        made = objective(mode="memory")
        assert made.cache is not None
        (batch,) = batches(1)
        assert batch.draw is not None
        made.cache.read(part(batch, slice(0, 13)), [LOGITS])
        calls.clear()
        whole = made.cache.read(batch, [LOGITS])
        assert calls.pictures == [CHUNKS["cpu"]]
        assert made.cache.share_of_hits() == pytest.approx(13 / (13 + tiny.BATCH))
        assert whole is not None
        assert torch.equal(whole[LOGITS], objective_outputs(batch))

    def test_another_run_finds_it_on_disk(self, tmp_path: Path, calls: Calls) -> None:
        planned = tiny.stages([(StageSpec(until=2), ["kd"])], epochs=2)
        tiny.trained(cached(tiny.setup(planned), "disk", tmp_path / "cache"), tmp_path / "one")
        calls.clear()
        reports = tiny.trained(cached(tiny.setup(planned), "disk", tmp_path / "cache"), tmp_path / "two")
        assert [report.cache_hits for report in reports] == [1.0, 1.0]
        assert tiny.TRAIN not in calls.pictures
        assert sum(calls.pictures) == 2 + tiny.TEST, "but for the probe and the teacher's accuracy it was not run"
        assert tiny.outcome(tmp_path / "one") == tiny.outcome(tmp_path / "two")

    def test_of_another_seed_some(self, tmp_path: Path) -> None:
        planned = tiny.stages([(StageSpec(until=2), ["kd"])], epochs=2)
        tiny.trained(cached(tiny.setup(planned), "disk", tmp_path / "cache"), tmp_path / "one")
        reports = tiny.trained(cached(tiny.setup(planned, seed=3), "disk", tmp_path / "cache"), tmp_path / "two")
        assert all(report.cache_hits is not None and 0 < report.cache_hits < 1 for report in reports)

    def test_what_comes_out_does_not_depend_on_what_was_there(self, tmp_path: Path) -> None:
        """Whatever was missing together: sums are rounded alike."""
        expected = {mode: losses(objective(mode=mode, folder=tmp_path / mode), 9) for mode in ("memory", "disk")}
        assert expected["memory"] == expected["disk"]
        generator = torch.Generator().manual_seed(0)
        for attempt in range(4):
            made = objective(mode="memory")
            assert made.cache is not None
            for batch in batches(9):
                size = int(torch.randint(1, tiny.BATCH, (), generator=generator))
                made.cache.read(part(batch, torch.randperm(tiny.BATCH, generator=generator)[:size]), [LOGITS])
            assert losses(made, 9) == expected["memory"], f"attempt {attempt}"

    def test_not_even_before_rounding(self) -> None:
        """Of a network whose sums are rounded differently in batches of different sizes."""
        torch.manual_seed(0)
        network = models.create("MobileNetV2", classes=tiny.CLASSES, channels=3, image_size=(32, 32))
        x = torch.randn(2 * CHUNKS["cpu"], 3, 32, 32)
        with torch.no_grad():
            network.train()(x)
        made = Objective(network, network, example=x[:1])
        kept = cache(made, example=x[:1])
        whole = kept._outputs(x, [LOGITS])[LOGITS]
        assert made.teacher is not None
        sizes = (1, 2, 5, 11)
        assert any(not torch.equal(made.teacher(x[:size]), whole[:size]) for size in sizes), (
            "too well-behaved a network"
        )
        for size in sizes:
            assert torch.equal(kept._outputs(x[:size], [LOGITS])[LOGITS], whole[:size])
            assert torch.equal(kept._outputs(x[size:], [LOGITS])[LOGITS], whole[size:])
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        assert torch.equal(kept._outputs(x[order], [LOGITS])[LOGITS], whole[order])

    @pytest.mark.parametrize("methods", [["fitnet"], ["kd", "at"], ["mlkd"]], ids=str)
    def test_a_stage_that_reads_more_runs_the_teacher(self, methods: list[str], calls: Calls) -> None:
        made = objective(methods, "memory")
        assert made.cache is not None
        twice = [batch for _ in range(2) for batch in tiny.loader().epoch(1, views=made.views)]
        plain = objective(methods)
        for batch in twice:
            calls.clear()
            total = made(batch).total
            assert set(calls.pictures) == {tiny.BATCH}
            assert torch.equal(total, plain(batch).total)
        assert made.cache.share_of_hits() is None

    def test_which_taps_can_be_kept(self) -> None:
        layout = objective().teacher_layout
        assert layout is not None
        assert cacheable([LOGITS], layout) == {LOGITS}
        assert cacheable(["pooled", LOGITS], layout) == {LOGITS, "pooled"}
        for taps in ([], ["stage1"], [LOGITS, "stage3"], [LOGITS, "logits@strong"], ["stage3.preact"]):
            assert cacheable(taps, layout) == frozenset(), taps

    def test_an_anchor_on_the_teacher_is_served(self, tmp_path: Path) -> None:
        planned = tiny.stages(
            [(StageSpec(until=1), ["fitnet"]), (StageSpec(until=3), [])], epochs=3, anchor=ReferenceKL(source="teacher")
        )
        reports = tiny.trained(cached(tiny.setup(planned), "memory", tmp_path), tmp_path / "run")
        assert [report.cache_hits is None for report in reports] == [True, False, False]

    def test_without_a_stage_that_can_use_it_there_is_none(self, tmp_path: Path) -> None:
        planned = tiny.stages([(StageSpec(until=1), ["fitnet"])], epochs=1)
        tiny.trained(cached(tiny.setup(planned), "disk", tmp_path / "cache"), tmp_path / "run")
        assert not (tmp_path / "cache").exists()

    def test_a_batch_that_does_not_tell_its_pictures(self, calls: Calls) -> None:
        made = objective(mode="memory")
        (batch,) = batches(1)
        for _ in range(2):
            calls.clear()
            expected = objective()(batch).total
            assert torch.equal(made((batch.x, batch.y)).total, expected)
            assert set(calls.pictures) == {tiny.BATCH}


class TestDraws:
    def test_a_loader_tells_which_pictures_it_gives(self) -> None:
        loader, augmentation = tiny.loader(), tiny.digits().augmentation()
        for batch in loader.epoch(4):
            assert batch.draw is not None
            assert batch.draw.variant is not None
            assert batch.index is not None
            assert batch.draw.epoch == 4
            assert torch.equal(batch.draw.index, batch.index)
            images = tiny.digits().train.images[batch.draw.index]
            assert torch.equal(augmentation.apply(images, batch.draw.variant), batch.x)

    def test_the_number_of_variants_is_the_loaders_own(self) -> None:
        """It cannot be told wrongly: pictures of another augmentation are other pictures, and have other files."""
        train = tiny.digits().train
        augmentation = tiny.digits().augmentation()
        orbits = [
            MemoryLoader(train, tiny.BATCH, replace(augmentation, **changes)).augmentation_space
            for changes in ({}, {"padding": 2}, {"flip": True}, {"mean": (0.1,)})
        ]
        assert [augmentation_space.variants for augmentation_space in orbits] == [9, 25, 18, 9]
        assert len({augmentation_space.identity for augmentation_space in orbits}) == len(orbits)
        subset = MemoryLoader(train.subset(30), tiny.BATCH, augmentation).augmentation_space
        assert subset.identity not in {augmentation_space.identity for augmentation_space in orbits}

    def test_rows_of_different_pictures_are_different(self) -> None:
        made = objective(mode="memory")
        assert made.cache is not None
        number = made.cache._numbering
        draws = SampleKeys(torch.arange(60).repeat_interleave(9), 1, torch.arange(9).repeat(60))
        places = number.places(draws)
        assert places is not None
        assert sorted(places.tolist()) == list(range(number.count))


class TestResume:
    """Killed at any moment, a run ends as if it had not been, whatever has become of the cache in the meantime."""

    @staticmethod
    def setup(mode: str, folder: Path) -> RunConfig:
        pairs: list[Any] = [
            (StageSpec(until=2), ["kd"]),
            (StageSpec(until=3), ["fitnet"]),
            (StageSpec(until=6, carry="average"), ["rkd", "kd"]),
        ]
        return cached(tiny.setup(tiny.stages(pairs, epochs=6, anchor=ReferenceKL())), mode, folder)

    @pytest.mark.parametrize("mode", ["memory", "disk", "replay"])
    @pytest.mark.parametrize("lost", ["nothing", "all", "some"])
    @pytest.mark.parametrize("epoch", [1, 2, 4, 5])
    def test_exactly(self, mode: str, lost: str, epoch: int, tmp_path: Path) -> None:
        tiny.trained(self.setup(mode, tmp_path / "one"), tmp_path / "undisturbed")

        folder, kept = tmp_path / "run", tmp_path / "two"
        folder.mkdir()
        reports = run(self.setup(mode, kept), RunFolder(folder))
        for _ in range(epoch):
            next(reports)
        reports.close()
        if lost == "all":
            shutil.rmtree(kept, ignore_errors=True)
        elif lost == "some" and kept.exists():
            for file in kept.rglob("*.rows"):
                damaged(file, every=3)
        tiny.trained(self.setup(mode, kept), folder)
        for one in (folder, tmp_path / "undisturbed"):
            RunFolder(one).conclude()
        assert tiny.outcome(folder) == tiny.outcome(tmp_path / "undisturbed")


class TestDamage:
    """Whatever is in the files, what comes out is right."""

    def filled(self, folder: Path) -> list[Tensor]:
        return outputs(objective(mode="disk", folder=folder))

    @pytest.mark.parametrize(
        "harm",
        [
            lambda file: file.write_bytes(b""),
            lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 3]),
            lambda file: file.write_bytes(b"\xff" * file.stat().st_size),
            lambda file: file.write_bytes(file.read_bytes()[40:] + bytes(40)),
            lambda file: file.write_bytes(file.read_bytes()[1:] + bytes(1)),
            lambda file: file.write_bytes(file.read_bytes()[::-1]),
            lambda file: file.unlink(),
            lambda file: damaged(file, every=1, at=0),
            lambda file: damaged(file, every=1, at=8),
            lambda file: damaged(file, every=1, at=27),
            lambda file: damaged(file, every=2, at=13, bit=1),
            lambda file: (file.parent / DESCRIPTION).unlink(),
            lambda file: (file.parent / DESCRIPTION).write_text("{", encoding="utf-8"),
            lambda file: (file.parent / DESCRIPTION).write_text("[]", encoding="utf-8"),
        ],
    )
    def test_is_seen_and_computed_again(self, harm: Callable[[Path], None], tmp_path: Path, calls: Calls) -> None:
        expected = self.filled(tmp_path)
        harm(rows_file(tmp_path))
        calls.clear()
        assert all(map(torch.equal, self.filled(tmp_path), expected))
        assert len(calls.pictures) > 1, "something had to be computed beside the probe"
        calls.clear()
        assert all(map(torch.equal, self.filled(tmp_path), expected))
        assert calls.pictures == [2], "all is there again; only the probe"

    def test_every_single_bit_of_a_record_counts(self, tmp_path: Path) -> None:
        self.filled(tmp_path)
        file = rows_file(tmp_path)
        made = objective(mode="disk", folder=tmp_path)
        assert made.cache is not None
        (batch,) = batches(1)
        records = made.cache._records[LOGITS]
        assert batch.draw is not None
        assert batch.draw.variant is not None
        places = made.cache._numbering.places(batch.draw)
        assert places is not None
        place, picture = places[:1], batch.draw.variant[:1]
        assert bool(records.read(place, picture)[1])
        sound, length = file.read_bytes(), 32
        for bit in range(8 * (8 + 2 * tiny.CLASSES)):
            begin = int(place) * length
            with file.open("r+b") as opened:
                opened.seek(begin + bit // 8)
                opened.write(bytes([sound[begin + bit // 8] ^ (1 << bit % 8)]))
            assert not bool(records.read(place, picture)[1]), f"bit {bit}"
            file_restored(file, sound, begin, length)
        assert bool(records.read(place, picture)[1])

    def test_a_record_is_valid_in_its_own_place_alone(self, tmp_path: Path) -> None:
        expected = self.filled(tmp_path)
        file = rows_file(tmp_path)
        content, length = file.read_bytes(), 32
        file.write_bytes(content[length:] + content[:length])
        assert all(map(torch.equal, self.filled(tmp_path), expected))

    @pytest.mark.parametrize("what", ["weight", "statistics", "network", "precision", "code"])
    def test_another_teacher_has_other_outputs(
        self, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls
    ) -> None:
        self.filled(tmp_path)
        before = sorted(tmp_path.iterdir())
        other = tiny.teacher()
        if what == "weight":
            with torch.no_grad():
                next(other.parameters())[0] += 1e-6
        elif what == "statistics":
            other.get_buffer("bn1.running_mean")[0] += 1e-6
        elif what == "network":
            other = tiny.student(2, "resnet14_w4")
        made = Objective(tiny.student(), other, methods=["kd"], example=tiny.EXAMPLE)
        if what == "code":
            extract = Frozen.extract
            monkeypatch.setattr(
                Frozen, "extract", lambda *arguments: {name: 2 * value for name, value in extract(*arguments).items()}
            )
        made.cache = cache(made, "disk", tmp_path, precision="bf16" if what == "precision" else "fp32")
        made.begin_stage(["kd"])
        calls.clear()
        outputs(made)
        assert made.cache.share_of_hits() == 0.0
        assert (sorted(tmp_path.iterdir()) == before) == (what == "code")

    def test_the_same_teacher_made_anew_has_the_same_key(self, tmp_path: Path) -> None:
        self.filled(tmp_path)
        made = Objective(tiny.student(3), copy.deepcopy(tiny.teacher()), methods=["kd"], example=tiny.EXAMPLE)
        made.cache = cache(made, "disk", tmp_path)
        made.begin_stage(["kd"])
        outputs(made)
        assert made.cache.share_of_hits() == 1.0

    def test_what_a_folder_is_of_stands_in_it(self, tmp_path: Path) -> None:
        self.filled(tmp_path)
        facts = json.loads((rows_file(tmp_path).parent / DESCRIPTION).read_text(encoding="utf-8"))
        assert facts["teacher"] == "ResNet"
        assert (facts["samples"], facts["variants"], facts["device"]) == (tiny.TRAIN, 9, "cpu")


class TestRefusal:
    def test_more_than_the_limit(self, tmp_path: Path) -> None:
        for mode, per_row in (("memory", 2 * tiny.CLASSES + 8), ("disk", 32)):
            size = tiny.TRAIN * 9 * per_row
            for limit in (size - 1, f"{(size - 1) / 1000}kB"):
                with pytest.raises(
                    UserError,
                    match=r"would take 1\d\.\d kB for the logits of 60 pictures in 9 variants.*cache_limit to",
                ):
                    cache(objective(), options=CacheConfig(mode, tmp_path, limit), outputs=[LOGITS])  # type: ignore[arg-type]
            cache(objective(), options=CacheConfig(mode, tmp_path, size), outputs=[LOGITS])  # type: ignore[arg-type]

    def test_before_training(self, tmp_path: Path) -> None:
        planned = tiny.stages([(StageSpec(until=1), ["fitnet"]), (StageSpec(until=2), ["kd"])], epochs=2)
        made = cached(tiny.setup(planned), "disk", tmp_path / "cache")
        with pytest.raises(UserError, match="limit is 99 bytes"):
            tiny.trained(replace(made, cache=CacheConfig("disk", tmp_path / "cache", 99)), tmp_path / "run")
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
        assert not (tmp_path / "cache").exists()

    def test_no_room_on_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage._replace(free=5000))
        with pytest.raises(
            UserError, match=r"needs 17\.3 kB more on disk for the logits .* has 5 kB free: choose another"
        ):
            cache(objective(), "disk", tmp_path, outputs=[LOGITS])

    def test_what_is_there_already_needs_no_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = cache(objective(), "disk", tmp_path, outputs=[LOGITS])
        for epoch in range(1, 60):
            for batch in tiny.loader().epoch(epoch):
                made.read(batch, [LOGITS])
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage._replace(free=0))
        cache(objective(), "disk", tmp_path, outputs=[LOGITS])

    def test_no_room_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "free_memory", lambda _: 18_000)
        with pytest.raises(
            UserError, match=r"15\.1 kB of memory for the logits .* free are 18 kB on cpu: keep it on disk"
        ):
            cache(objective(), outputs=[LOGITS])

    def test_the_cpu_stands_in_for_a_device_that_is_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "free_memory", lambda device: 10**6 if device.type == "cpu" else 100)
        gpu = torch.device("cuda")
        assert room.memory_device(1000, "", gpu).type == "cpu"
        assert room.memory_device(70, "", gpu).type == "cuda"
        with pytest.raises(UserError, match="100 bytes on cuda and 1 MB on cpu"):
            room.memory_device(10**6, "", gpu)

    def test_free_memory_is_known_here(self) -> None:
        assert 10**6 < room.free_memory(torch.device("cpu")) < 10**16

    def test_a_folder_that_cannot_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(UserError, match=r"the teacher's cache .* cannot be written"):
            cache(objective(), "disk", tmp_path / "file")

    def test_a_disk_that_is_full_all_of_a_sudden(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = cache(objective(), "disk", tmp_path)
        monkeypatch.setattr("smskd.teacher_cache.storage.os.pwrite", lambda *_: 3)
        with pytest.raises(
            UserError, match=r"cannot be written \(No space left on device\): choose another cache folder"
        ):
            made.read(next(batches(1)), [LOGITS])

    @pytest.mark.parametrize("mode", ["memory", "disk"])
    @pytest.mark.parametrize("value", [70000.0, float("nan")])
    def test_logits_that_float16_cannot_hold(self, mode: str, value: float, tmp_path: Path) -> None:
        network = tiny.teacher()
        made = Objective(tiny.student(), network, methods=["kd"], example=tiny.EXAMPLE)
        made.cache = cache(made, mode, tmp_path)
        made.begin_stage(["kd"])
        assert made.teacher is not None
        runs = made.teacher._runs[0]
        classifier = runs.classifier
        assert classifier is not None
        with torch.no_grad():
            classifier.bias[3] = value
        with pytest.raises(UserError, match="logits or pooled are not finite, or beyond the 65504"):
            losses(made, 1)
        if mode == "disk":
            assert not rows_file(tmp_path).read_bytes().strip(b"\0"), "nothing may have been kept"

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"mode": "disc"}, "the teacher's cache cannot be 'disc'; did you mean 'disk'?"),
            ({"limit": "16 apples"}, "'16 apples' must be a size in bytes, such as 500MB or 16GB"),
            ({"top": 0}, "top must be a whole number of 1 or more, not 0"),
        ],
    )
    def test_options_that_are_none(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError) as caught:
            CacheConfig(**given)
        assert str(caught.value) == message


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"
    assert CacheConfig().path == tmp_path / "own"
    assert CacheConfig(folder=tmp_path).path == tmp_path
    monkeypatch.delenv("SMSKD_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "smskd"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_folder() == Path("~/Library/Caches/smskd").expanduser()


def part(batch: Batch, rows: Any) -> Batch:
    """Some samples of a batch."""
    draw = batch.draw
    assert draw is not None
    assert draw.variant is not None
    return replace(
        batch, x=batch.x[rows], y=batch.y[rows], draw=replace(draw, index=draw.index[rows], variant=draw.variant[rows])
    )


def outputs(made: Objective) -> list[Tensor]:
    """The teacher's logits of three batches, by way of the cache."""
    assert made.cache is not None
    found = [made.cache.read(batch, [LOGITS]) for batch in batches(3)]
    return [tensors[LOGITS] for tensors in found if tensors is not None]


def objective_outputs(batch: Batch) -> Tensor:
    """The teacher's logits as a cache that holds nothing gives them."""
    made = objective(mode="memory")
    assert made.cache is not None
    found = made.cache.read(batch, [LOGITS])
    assert found is not None
    return found[LOGITS]


def damaged(file: Path, every: int, at: int = 10, bit: int = 7) -> None:
    """Flips a bit in some of the records that were written, of 32 bytes each."""
    content = bytearray(file.read_bytes())
    for begin in range(0, len(content) - 31, 32 * every):
        content[begin + at] ^= 1 << bit
    file.write_bytes(bytes(content))


def file_restored(file: Path, sound: bytes, begin: int, length: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(begin)
        opened.write(sound[begin : begin + length])
