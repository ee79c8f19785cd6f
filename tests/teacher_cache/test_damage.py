"""Whatever is in the files, the outputs are correct; and a run is resumed exactly."""

import copy
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import StageConfig
from smskd.interfaces.features import LOGITS
from smskd.models.frozen import Frozen
from smskd.runs.folder import RunFolder
from smskd.teacher_cache.folder import DESCRIPTION
from smskd.teacher_cache.storage import FileStorage
from smskd.training.config import RunConfig
from tests.support import cached, tiny
from tests.support.cached import RECORD, Calls, damage, rows_file


def filled(folder: Path) -> list[Tensor]:
    """The teacher's logits for three batches, which are then in the folder."""
    return cached.logits_of(cached.cache(cached.frozen_teacher(), cached.options("disk", folder)))


def built(mode: str, folder: Path) -> RunConfig:
    stages: list[tuple[StageConfig, tiny.Methods]] = [
        (StageConfig(ends_after=2), ["kd"]),
        (StageConfig(ends_after=3), ["fitnet"]),
        (StageConfig(ends_after=5, carry="ema"), ["rkd", "kd"]),
    ]
    teacher = cached.teacher_config(mode, folder)
    return tiny.built(tiny.recipe(stages, epochs=5, anchor=ReferenceKL(), teacher=teacher))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """The outcome of the run in a mode."""

    @cache
    def outcome(mode: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp(mode)
        tiny.trained(built(mode, folder / "cache"), folder / "run")
        RunFolder(folder / "run").conclude()
        return tiny.outcome(folder / "run")

    return outcome


class TestResume:
    """A run killed at any moment ends as if it had not been, whatever has become of the cache in the meantime."""

    @pytest.mark.parametrize(
        ("mode", "lost", "epoch"),
        [
            ("memory", "nothing", 1),
            ("memory", "nothing", 4),
            ("disk", "nothing", 4),
            ("disk", "all", 1),
            ("disk", "some", 4),
            ("replay", "nothing", 1),
            ("replay", "all", 4),
            ("replay", "some", 2),
        ],
    )
    def test_exactly(
        self,
        mode: str,
        lost: str,
        epoch: int,
        tmp_path: Path,
        uninterrupted: Callable[[str], dict[str, Any]],
    ) -> None:
        folder, kept = tmp_path / "run", tmp_path / "cache"
        folder.mkdir()
        reports = tiny.epochs_of(built(mode, kept), folder)
        for _ in range(epoch):
            next(reports)
        reports.close()
        if lost == "all":
            shutil.rmtree(kept)
        elif lost == "some":
            for file in kept.rglob("*.rows"):
                damage(file, every=3)
        tiny.trained(built(mode, kept), folder)
        RunFolder(folder).conclude()
        assert tiny.outcome(folder) == uninterrupted(mode)


class TestDamage:
    @pytest.mark.parametrize(
        "harm",
        [
            lambda file: file.write_bytes(b""),
            lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 3]),
            lambda file: file.write_bytes(b"\xff" * file.stat().st_size),
            lambda file: file.write_bytes(file.read_bytes()[RECORD + 8 :] + bytes(RECORD + 8)),
            lambda file: file.write_bytes(file.read_bytes()[1:] + bytes(1)),
            lambda file: file.write_bytes(file.read_bytes()[::-1]),
            lambda file: file.write_bytes(file.read_bytes()[RECORD:] + file.read_bytes()[:RECORD]),
            lambda file: file.unlink(),
            lambda file: damage(file, every=1, at=0),
            lambda file: damage(file, every=1, at=8),
            lambda file: damage(file, every=1, at=27),
            lambda file: damage(file, every=2, at=13, bit=1),
            lambda file: (file.parent / DESCRIPTION).unlink(),
            lambda file: (file.parent / DESCRIPTION).write_text("{", encoding="utf-8"),
            lambda file: (file.parent / DESCRIPTION).write_text("[]", encoding="utf-8"),
        ],
    )
    def test_is_detected_and_computed_again(self, harm: Callable[[Path], None], tmp_path: Path, calls: Calls) -> None:
        expected = filled(tmp_path)
        harm(rows_file(tmp_path))
        calls.clear()
        assert all(map(torch.equal, filled(tmp_path), expected))
        assert len(calls.images) > 1, "nothing was computed beside the probe"
        calls.clear()
        assert all(map(torch.equal, filled(tmp_path), expected))
        assert calls.images == [2], "more was computed than the probe, though all is there again"

    def test_every_single_bit_of_a_record_counts(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        storage = FileStorage(file, 3, tiny.CLASSES)
        record, image = torch.tensor([1]), torch.tensor([7])
        row = torch.arange(tiny.CLASSES, dtype=torch.int16)[None]
        storage.write(record, image, row)
        content = file.read_bytes()
        assert len(content) == 3 * RECORD
        for bit in range(8 * (8 + 2 * tiny.CLASSES)):
            place = RECORD + bit // 8
            with file.open("r+b") as opened:
                opened.seek(place)
                opened.write(bytes([content[place] ^ (1 << bit % 8)]))
            assert not bool(storage.read(record, image)[1]), f"bit {bit}"
            with file.open("r+b") as opened:
                opened.seek(place)
                opened.write(content[place : place + 1])
        assert bool(storage.read(record, image)[1])


class TestIdentity:
    @pytest.mark.parametrize("change", ["weight", "statistics", "network", "precision", "code"])
    def test_another_teacher_has_other_outputs(
        self, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filled(tmp_path)
        before = sorted(tmp_path.iterdir())
        other = tiny.teacher()
        if change == "weight":
            with torch.no_grad():
                next(other.parameters())[0] += 1e-6
        elif change == "statistics":
            other.get_buffer("bn1.running_mean")[0] += 1e-6
        elif change == "network":
            other = tiny.student(2, "resnet14_w4")
        elif change == "code":
            extract = Frozen.extract
            monkeypatch.setattr(
                Frozen, "extract", lambda *arguments: {name: 2 * value for name, value in extract(*arguments).items()}
            )
        precision = "bf16" if change == "precision" else "fp32"
        kept = cached.cache(Frozen(other, tiny.EXAMPLE), cached.options("disk", tmp_path), precision=precision)
        cached.logits_of(kept)
        assert kept.share_of_hits() == 0.0
        assert (sorted(tmp_path.iterdir()) == before) == (change == "code")

    def test_the_same_teacher_made_anew_has_the_same_key(self, tmp_path: Path) -> None:
        filled(tmp_path)
        teacher = Frozen(copy.deepcopy(tiny.teacher()), tiny.EXAMPLE)
        kept = cached.cache(teacher, cached.options("disk", tmp_path))
        cached.logits_of(kept)
        assert kept.share_of_hits() == 1.0

    def test_a_folder_is_described(self, tmp_path: Path) -> None:
        filled(tmp_path)
        facts = json.loads((rows_file(tmp_path, LOGITS).parent / DESCRIPTION).read_text(encoding="utf-8"))
        assert facts["teacher"] == "ResNet"
        assert (facts["samples"], facts["variants"], facts["device"]) == (tiny.TRAIN, 9, "cpu")
