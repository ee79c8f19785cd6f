"""Ctrl-C, and resuming afterwards."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from smskd.runs.folder import RunFolder
from tests.support import tiny
from tests.support.program import ctrl_c_stops_this_process, everything_in, fine, mistake, same_weights, smskd

EPOCHS = 6
LONG = (f"training.epochs={EPOCHS}", "schedule.decay_at=[3]")


def interrupted(epoch: int, *words: object) -> str:
    """The message of the program that gets Ctrl-C when the metrics of an epoch are written."""
    append = RunFolder.append_metrics

    def stopping(self: RunFolder, line: dict[str, Any]) -> None:
        append(self, line)
        if line["epoch"] == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    with mock.patch.object(RunFolder, "append_metrics", stopping), ctrl_c_stops_this_process():
        stopped = smskd(*words)
    assert (stopped.code, stopped.out) == (130, ""), stopped
    return stopped.err


def epochs_in(folder: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, taught: tuple[str, ...]) -> Path:
    """A run of six epochs for the seeds 3 and 1, stopped in the first, with its path relative to the parent."""
    here = tmp_path_factory.mktemp("stopped")
    before = Path.cwd()
    os.chdir(here)
    try:
        out = Path("my runs")
        words = ("train", "digits/fitnet-kd", *taught, *LONG, "--seeds", "3,1", "--out", out, "--json")
        message = interrupted(2, *words)
    finally:
        os.chdir(before)
    assert message == "smskd: stopped; resume with: smskd resume 'my runs'\n"
    return here / out


def test_the_stopped_run_can_be_resumed_from_elsewhere(stopped: Path, here: Path, taught: tuple[str, ...]) -> None:
    assert epochs_in(stopped / "seed3") == [1, 2]
    assert not (stopped / "seed1" / "metrics.jsonl").exists()
    assert not [name for name in everything_in(stopped) if name.endswith(".tmp")]
    for command in ("compare", "report"):
        assert "unfinished run; resume it with: smskd resume " in mistake(command, stopped)

    printed = json.loads(fine("resume", stopped, "--json"))
    assert sorted(summary["seed"] for summary in printed) == [1, 3]
    for seed in (1, 3):
        assert epochs_in(stopped / f"seed{seed}") == list(range(1, EPOCHS + 1))
    assert fine("compare", stopped)

    fine("train", "digits/fitnet-kd", *taught, *LONG, "runtime.seed=3", "--out", "straight", "-q")
    for name in ("student.safetensors", "stages/1/student.safetensors"):
        assert same_weights(stopped / "seed3" / name, here / "straight" / name)

    message = mistake("resume", stopped)
    assert message.endswith(f"is finished; show the result with: smskd compare '{stopped}'")


def test_resuming_what_is_finished(runs: Path) -> None:
    before = everything_in(runs)
    for path in (runs, runs / "seed0"):
        assert mistake("resume", path).startswith(f"{path} is finished; show the result with: ")
    assert everything_in(runs) == before


def unfinished(runs: Path, folder: Path) -> Path:
    """The folder of a run that was killed before its first epoch was done."""
    folder.mkdir()
    for name in ("recipe.yaml", "environment.json"):
        (folder / name).write_bytes((runs / "seed0" / name).read_bytes())
    return folder


def test_a_run_without_an_epoch_begins_anew(here: Path, runs: Path) -> None:
    folder = unfinished(runs, here / "r")
    printed = fine("resume", folder)
    assert printed.splitlines()[0].startswith("fitnet-kd seed 0  begins with epoch 1 of ")
    assert same_weights(folder / "student.safetensors", runs / "seed0" / "student.safetensors")


def test_json_of_a_single_run_is_its_summary(here: Path, runs: Path) -> None:
    folder = unfinished(runs, here / "r")
    assert json.loads(fine("resume", folder, "--json")) == tiny.summary(folder)


def test_finished_runs_are_counted_and_not_trained_again(here: Path, runs: Path) -> None:
    both = here / "both"
    both.mkdir()
    unfinished(runs, both / "b")
    shutil.copytree(runs / "seed1", both / "a")
    printed = fine("resume", both).splitlines()
    assert printed[0] == f"1 of 2 runs in {both} is already finished"
    assert printed[1].startswith("fitnet-kd seed 0  begins with epoch 1 of ")
    assert printed[-1].startswith("fitnet-kd seed 0: top-1 ")
    assert everything_in(both / "a") == everything_in(runs / "seed1")


def test_a_damaged_checkpoint(here: Path, runs: Path) -> None:
    checkpoint = unfinished(runs, here / "r") / "checkpoint.safetensors"
    for content in (b"", b"noise", b"\x10" * 40):
        checkpoint.write_bytes(content)
        message = mistake("resume", "r", "-q")
        assert message.startswith("r/checkpoint.safetensors is damaged ("), content
        assert message.endswith("); remove it to start the run again"), content
    checkpoint.unlink()
    fine("resume", "r", "-q")


def test_a_recipe_that_no_longer_fits(here: Path, runs: Path) -> None:
    folder = unfinished(runs, here / "r")
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 2", "epohcs: 2"))
    assert "recipe.yaml: training.epohcs: unknown key; did you mean 'epochs'?" in mistake("resume", "r")
    assert folder.is_dir()
    assert recipe.exists()
