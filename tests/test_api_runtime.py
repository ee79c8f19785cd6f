"""`smskd.distill` and `smskd.train`: validation split, runtime, and the global state that they leave alone."""

import ctypes
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import smskd
from smskd import LoaderConfig, RuntimeConfig, StageConfig, UserError, ValidationConfig
from smskd import session as training
from smskd.models import save_weights
from smskd.recipe import parse
from smskd.report.page import Page
from smskd.runs.folder import RunFolder
from tests.support import tiny
from tests.support.own_data import distilled, floats, images, network


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts of the page take more time than the runs."""
    monkeypatch.setattr(training, "write_run_report", Page)


class TestValidation:
    @pytest.mark.parametrize("train", [images("train"), floats("train")], ids=["memory", "streamed"])
    @pytest.mark.parametrize("validation", [0.25, ValidationConfig(fraction=0.25)], ids=["fraction", "config"])
    def test_held_out_of_training(self, train: Any, validation: Any) -> None:
        stage = StageConfig(methods=("kd",), carry="best", ends_after=2)
        reports: list[Any] = []
        summary = distilled(
            stages=[stage], train=train, test=images("test"), validation=validation, epochs=2, on_epoch=reports.append
        ).summary
        held_out = summary["data"]["validation_samples"]
        assert 10 <= held_out <= 20
        assert summary["data"]["train_samples"] == tiny.TRAIN - held_out
        assert all(len(report.validation.correct) == held_out for report in reports)
        best = max(reports, key=lambda report: report.validation_top1)
        assert summary["student"]["best_epoch"] == best.epoch
        assert summary["student"]["top1"] == pytest.approx(best.test_top1)

    def test_given_as_a_data_set(self) -> None:
        stages = [StageConfig(methods=("kd",), carry="best")]
        reports: list[Any] = []
        summary = distilled(stages=stages, validation=floats("test")[:17], epochs=1, on_epoch=reports.append).summary
        assert (summary["data"]["train_samples"], summary["data"]["validation_samples"]) == (tiny.TRAIN, 17)
        assert torch.equal(reports[0].validation.correct, reports[0].test.correct[:17])

    def test_another_one_is_another_run(self, tmp_path: Path) -> None:
        distilled(stages=["kd"], epochs=1, validation=0.25, out=tmp_path)
        for changed, key in ((0.5, r"data\.validation\.fraction"), (None, r"data\.validation")):
            with pytest.raises(UserError, match=f"was begun with other .*{key}"):
                distilled(stages=["kd"], epochs=1, validation=changed, out=tmp_path, resume=True)

    @pytest.mark.parametrize("validation", [0.0, 1.0, 1.5])
    def test_a_fraction_out_of_range(self, validation: float) -> None:
        with pytest.raises(UserError, match=r"^fraction: must be"):
            distilled(validation=validation)

    def test_best_without_one_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"^stages\.0\.carry: best is selected on a validation split"):
            distilled(stages=[StageConfig(carry="best")])


class TestRuntime:
    def test_is_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("smskd.models.compiled.BACKEND", "eager")
        saved: list[int] = []
        save = RunFolder.save_checkpoint

        def counted(self: RunFolder, checkpoint: Any, keep: int) -> None:
            saved.append(checkpoint.values["counters"]["epoch"])
            save(self, checkpoint, keep)

        monkeypatch.setattr(RunFolder, "save_checkpoint", counted)
        seen: list[tuple[bool, bool]] = []

        def on_epoch(report: Any) -> None:
            seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.deterministic))

        runtime = RuntimeConfig(compile="on", tf32=False, checkpoint_every=3, device="cpu")
        arguments: dict[str, Any] = {"stages": ["kd"], "epochs": 4, "device": None}
        result = distilled(out=tmp_path / "run", runtime=runtime, on_epoch=on_epoch, **arguments)
        assert saved == [3, 4]
        assert seen == [(False, True)] * 4
        assert result.summary["stages"][0]["cost"]["compiled"] == ["student", "teacher"]
        bf16 = distilled(runtime=RuntimeConfig("bf16", device="cpu"), **arguments)
        assert not tiny.same(tiny.bits(result.student), tiny.bits(bf16.student))

    def test_seed_and_device_are_short_for_it(self) -> None:
        first = distilled(stages=["kd"], epochs=1, seed=3)
        runtime = RuntimeConfig(seed=3, device="cpu")
        second = distilled(stages=["kd"], epochs=1, device=None, runtime=runtime)
        assert first.summary["seed"] == second.summary["seed"] == 3
        assert tiny.same(tiny.bits(first.student), tiny.bits(second.student))

    def test_a_channels_last_student(self) -> None:
        plain, channels_last = network(2, seed=1), network(2, seed=1).to(memory_format=torch.channels_last)
        for student in (plain, channels_last):
            distilled(made=student, stages=["kd"], epochs=1)
        assert tiny.same(tiny.bits(plain), tiny.bits(channels_last))

    def test_a_kind_of_loader_that_the_data_cannot_have(self) -> None:
        with pytest.raises(UserError, match="'memory' needs a source of images in memory"):
            distilled(loader=LoaderConfig(kind="memory"))


def global_state() -> dict[str, Any]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),
        "python": random.getstate(),
        "cudnn": (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32),
        "tf32": matmul.allow_tf32,
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
    }


class TestGlobalState:
    @pytest.fixture(params=["distill", "train"])
    def call(self, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
        """Trains for an epoch."""

        def distill(**options: Any) -> None:
            distilled(stages=["kd"], epochs=1, **options)

        save_weights(tiny.teacher(), tmp_path / "teacher.safetensors")

        def train(**options: Any) -> None:
            given = {
                "data": {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}},
                "teacher": {"name": "resnet8_w4", "weights": str(tmp_path / "teacher.safetensors")},
                "student": "resnet8_w2",
                "training": {"epochs": 1, "batch_size": tiny.BATCH},
                "runtime": {"device": "cpu", "tf32": False},
                "methods": ["kd"],
            }
            smskd.train(parse(given), out=tmp_path / "run", **options)

        return {"distill": distill, "train": train}[request.param]

    @pytest.mark.parametrize("ends", ["normally", "by an exception"])
    def test_is_as_before(self, call: Any, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded: list[Any] = []
        load = ctypes.CDLL

        def recorded(name: Any, *arguments: Any, **options: Any) -> Any:
            loaded.append(name)
            return load(name, *arguments, **options)

        monkeypatch.setattr(ctypes, "CDLL", recorded)  # the allocator's settings are changed through CDLL(None)
        threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
        torch.set_num_threads(2)
        torch.backends.cudnn.benchmark = True

        def on_epoch(report: Any) -> None:
            if ends != "normally":
                raise KeyError("of the caller")

        try:
            before = global_state()
            if ends == "normally":
                call(on_epoch=on_epoch)
            else:
                with pytest.raises(KeyError):
                    call(on_epoch=on_epoch)
            assert global_state() == before
            assert None not in loaded, "the allocator was changed"
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.benchmark = benchmark

    def test_students_made_in_a_loop_start_from_different_weights(self) -> None:
        torch.manual_seed(0)
        expected = [nn.Linear(3, 3).weight.detach().clone() for _ in range(4)]
        torch.manual_seed(0)
        found = []
        for _ in range(4):
            found.append(nn.Linear(3, 3).weight.detach().clone())
            distilled(stages=["kd"], epochs=1)
        assert all(map(torch.equal, found, expected))
        assert not torch.equal(found[0], found[1])
