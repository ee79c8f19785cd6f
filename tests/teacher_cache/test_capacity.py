"""A cache that does not fit, or cannot hold the outputs, is refused in one line."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.config.cache import default_folder
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.interfaces.features import LOGITS
from smskd.models.frozen import Frozen
from smskd.teacher_cache import CacheConfig, TeacherCache, capacity
from tests.support import cached, tiny


def logits_cache(chosen: CacheConfig | None = None) -> TeacherCache:
    return cached.cache(cached.frozen_teacher(), chosen, outputs=[LOGITS])


class TestCapacity:
    def test_above_the_limit(self, tmp_path: Path) -> None:
        for mode, record in (("memory", 2 * tiny.CLASSES + 8), ("disk", cached.RECORD)):
            size = tiny.TRAIN * 9 * record
            for limit in (size - 1, f"{(size - 1) / 1000}kB"):
                with pytest.raises(
                    UserError,
                    match=r"take 1\d\.\d kB for the logits of 60 images in 9 variants.*set teacher\.cache\.limit to",
                ):
                    logits_cache(cached.options(mode, tmp_path, limit=limit))
            logits_cache(cached.options(mode, tmp_path, limit=size))

    def test_before_training(self, tmp_path: Path) -> None:
        stages: list[tuple[StageConfig, tiny.Methods]] = [
            (StageConfig(ends_after=1), ["fitnet"]),
            (StageConfig(ends_after=2), ["kd"]),
        ]
        teacher = cached.teacher_config("disk", tmp_path / "cache", limit="99")
        with pytest.raises(UserError, match="limit is 99 bytes"):
            tiny.trained(tiny.built(tiny.recipe(stages, epochs=2, teacher=teacher)), tmp_path / "run")
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
        assert not (tmp_path / "cache").exists()

    def test_no_room_on_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr("smskd.teacher_cache.capacity.shutil.disk_usage", lambda _: usage._replace(free=5000))
        with pytest.raises(
            UserError, match=r"needs 17\.3 kB more on disk for the logits .* has 5 kB free: choose another"
        ):
            logits_cache(cached.options("disk", tmp_path))

    def test_occupied_space_needs_no_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = logits_cache(cached.options("disk", tmp_path))
        for epoch in range(1, 60):
            for group in tiny.loader().groups(epoch):
                kept.read(group.batch, [LOGITS])
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr("smskd.teacher_cache.capacity.shutil.disk_usage", lambda _: usage._replace(free=0))
        logits_cache(cached.options("disk", tmp_path))

    def test_no_room_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(capacity, "free_memory", lambda _: 18_000)
        with pytest.raises(UserError, match=r"15\.1 kB of memory for the logits .* free: 18 kB on cpu\. Keep it on"):
            logits_cache()

    def test_the_cpu_stands_in_for_a_full_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(capacity, "free_memory", lambda device: 10**6 if device.type == "cpu" else 100)
        gpu = torch.device("cuda")
        assert capacity.memory_device(1000, "", gpu).type == "cpu"
        assert capacity.memory_device(70, "", gpu).type == "cuda"
        with pytest.raises(UserError, match="100 bytes on cuda and 1 MB on cpu"):
            capacity.memory_device(10**6, "", gpu)

    def test_free_memory_is_known(self) -> None:
        assert 10**6 < capacity.free_memory(torch.device("cpu")) < 10**16


class TestRefusal:
    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        with pytest.raises(UserError, match=r"the teacher's cache: .* cannot be written"):
            logits_cache(cached.options("disk", tmp_path / "file"))

    def test_outputs_are_computed_where_the_disk_fills_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = logits_cache().read(next(cached.batches(1)), [LOGITS])
        kept = logits_cache(cached.options("disk", tmp_path))
        monkeypatch.setattr("smskd.teacher_cache.storage.os.pwrite", lambda *_: 3)
        for _ in range(2):
            found = kept.read(next(cached.batches(1)), [LOGITS])
            assert found is not None
            assert wanted is not None
            assert torch.equal(found[LOGITS], wanted[LOGITS])
        (note,) = kept.notes
        assert "cannot be written (No space left on device): choose another cache folder" in note
        assert kept.share_of_hits() == 0

    @pytest.mark.parametrize("mode", ["memory", "disk"])
    @pytest.mark.parametrize("value", [70000.0, float("nan")])
    def test_logits_beyond_float16(
        self, mode: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = logits_cache(cached.options(mode, tmp_path))
        extract = Frozen.extract
        monkeypatch.setattr(
            Frozen,
            "extract",
            lambda *arguments: {
                name: values.index_fill(1, torch.tensor([3]), value) for name, values in extract(*arguments).items()
            },
        )
        with pytest.raises(UserError, match="the teacher's logits are not finite, or exceed 65504"):
            kept.read(next(cached.batches(1)), [LOGITS])
        if mode == "disk":
            assert not cached.rows_file(tmp_path).read_bytes().strip(b"\0"), "something was kept"

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"mode": "disc"}, "mode: must be 'off', 'memory', 'disk' or 'replay', not 'disc'"),
            ({"limit": "16 apples"}, "limit: must be a size in bytes, such as 500MB or 16GB, not '16 apples'"),
            ({"top": 0}, "top: must be greater than 0, not 0"),
        ],
    )
    def test_options_out_of_range(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError) as caught:
            CacheConfig(**given)
        assert str(caught.value) == message


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"
    assert CacheConfig().path == tmp_path / "own"
    assert CacheConfig(folder=str(tmp_path)).path == tmp_path
    monkeypatch.delenv("SMSKD_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "smskd"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_folder() == Path("~/Library/Caches/smskd").expanduser()
