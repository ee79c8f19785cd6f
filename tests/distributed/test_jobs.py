"""Runs that two processes train together, from the command line."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from smskd.api import distill, train
from smskd.cli.jobs import check_count, check_joint, processes_of
from smskd.distributed.launch import Job
from smskd.errors import UserError
from smskd.runs.file_names import METRICS, SUMMARY
from tests.support import tiny
from tests.support.program import fine

RECIPE = {
    "data": {"source": {"name": "digits"}, "subset": {"train": 40, "test": 30}},
    "student": "resnet8_w2",
    "training": {"epochs": 3, "batch_size": 10, "test_batch_size": 8},
    "optimizer": {"learning_rate": 0.01},
    "schedule": {"decay_at": [2]},
    "runtime": {"device": "cpu", "processes": 2},
}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


@pytest.fixture
def job_variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_job_that_was_killed_goes_on_in_one_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recipe, folder, alone = tmp_path / "tiny.yaml", tmp_path / "two", tmp_path / "one"
    recipe.write_text(yaml.safe_dump(RECIPE))
    train(recipe, "runtime.processes=1", out=alone)
    job = Job([sys.executable, "-m", "smskd", "train", str(recipe), "--out", str(folder)], 2)
    try:
        while job.runs and not (folder / METRICS).exists():
            time.sleep(0.05)
        job._processes[1].kill()
        code, message = job.wait()
    finally:
        job.end()
    assert (code, message) == (
        1,
        "process 2 of 2 was killed (SIGKILL), and the job has ended; the run can be resumed (smskd resume)",
    )
    assert "Traceback" not in capfd.readouterr().err
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2
    assert processes_of(folder) == 2
    fine("resume", folder, "--processes", "1", "--quiet")
    for one, two in zip(lines(alone), lines(folder), strict=True):
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
        assert (two["train_top1"], two["test_top1"]) == (one["train_top1"], one["test_top1"])
    (note,) = json.loads((folder / SUMMARY).read_text())["notes"]
    assert note.startswith("The run was begun with processes 2, now 1: its result may differ by rounding")


def test_other_commands_are_refused_in_a_job(job_variables: pytest.MonkeyPatch) -> None:
    check_joint("train")
    with pytest.raises(UserError, match="smskd train and smskd resume, no other command"):
        check_joint("sweep")


def test_another_number_than_was_started_is_refused(job_variables: pytest.MonkeyPatch) -> None:
    check_count(2)
    with pytest.raises(UserError, match="--processes: 3, but 2 processes were started"):
        check_count(3)


def test_the_library_does_not_start_processes(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    with pytest.raises(UserError, match="started in 1: start it with torchrun --nproc-per-node 2"):
        train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pieces_of_different_sizes_are_refused() -> None:
    from smskd import RuntimeConfig, TrainingConfig

    images = tiny.digits()
    with pytest.raises(UserError, match=r"training\.accumulate: batches of 20 do not make 3 pieces of the same size"):
        distill(
            student=tiny.student(),
            teacher=None,
            train=images.train,
            test=images.test,
            methods=[],
            training=TrainingConfig(epochs=1, batch_size=20, accumulate=3),
            runtime=RuntimeConfig(device="cpu"),
        )
