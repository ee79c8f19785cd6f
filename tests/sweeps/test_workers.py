"""Runs in worker processes: the same as in one process, and every way in which they end early."""

import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from smskd.errors import UserError
from smskd.recipe import read
from smskd.session import begin, reopen
from smskd.sweeps.workers import Progress, train_in_processes
from tests.support.program import same_weights

SHORT = (
    "data.source={name: digits, test_samples: 64}", "data.subset.train=128", "runtime.device=cpu",
    "student.name=resnet8_w2",
)  # fmt: skip


def begun(folder: Path, seed: int, epochs: int = 2) -> Path:
    begin(read("digits/plain", [*SHORT, f"runtime.seed={seed}", f"training.epochs={epochs}"]), folder)
    return folder


def finished(folder: Path) -> bool:
    (run,) = reopen(folder)
    return run.folder.finished


def test_runs_are_those_of_one_process(tmp_path: Path) -> None:
    folders = [begun(tmp_path / str(seed), seed) for seed in range(3)]
    seen: list[Progress] = []
    train_in_processes(folders, 2, seen.append)
    assert Counter((progress.folder, progress.kind) for progress in seen) == Counter(
        {(folder, kind): count for folder in folders for kind, count in (("epoch", 2), ("finished", 1))}
    )
    assert all(finished(folder) for folder in folders)
    assert not list(tmp_path.rglob("*.html"))
    assert not multiprocessing.active_children()

    (alone,) = reopen(begun(tmp_path / "alone", 1))
    for _ in alone.train(alone.build(), report=False):
        pass
    assert same_weights(tmp_path / "alone" / "student.safetensors", folders[1] / "student.safetensors")


def test_no_runs() -> None:
    train_in_processes([], 2, pytest.fail)


def test_a_run_that_fails_does_not_keep_the_others_from_training(tmp_path: Path) -> None:
    bad, *good = (begun(tmp_path / name, seed) for seed, name in enumerate(("bad", "one", "two")))
    recipe = bad / "recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("resnet8_w2", "resnet8_w0"), encoding="utf-8")
    with pytest.raises(UserError, match=r"1 of 3 runs could not be trained: .*unknown model 'resnet8_w0'"):
        train_in_processes([bad, *good], 1, lambda progress: None)
    assert not multiprocessing.active_children()
    assert all(finished(folder) for folder in good)


def test_a_worker_that_is_killed_has_a_successor(tmp_path: Path) -> None:
    folders = [begun(tmp_path / "run", 0, epochs=5000), begun(tmp_path / "other", 1)]

    def kill(progress: Progress) -> None:
        if progress.folder == folders[0]:
            (worker,) = multiprocessing.active_children()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(UserError, match=r"the process that trained .*run ended with exit code -9"):
        train_in_processes(folders, 1, kill)
    assert finished(folders[1])
    (run,) = reopen(folders[0])
    assert next(iter(run.train(run.build(), report=False)))


def test_an_exception_ends_the_workers_and_the_runs_can_be_resumed(tmp_path: Path) -> None:
    folders = [begun(tmp_path / str(seed), seed, epochs=5000) for seed in range(2)]

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_in_processes(folders, 2, interrupt)
    assert not multiprocessing.active_children()
    (run,) = reopen(next(folder for folder in folders if (folder / "metrics.jsonl").exists()))
    assert next(iter(run.train(run.build(), report=False))).epoch >= 2
