"""Damaged files: the result is that of the undamaged run, or a line says which file is damaged."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_damage import KINDS, Damage, damages, files_in
from tests.support.fault_hooks import Fault
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_processes import Command, run
from tests.support.fault_readers import READERS, readings, silently_other
from tests.support.fault_scenarios import damaged
from tests.support.fault_trainings import OUT, TRAININGS

STOPPED = "pretraining of AB"
FINISHED = "two stages"


@pytest.fixture(scope="module")
def stopped(laboratory: Laboratory) -> Path:
    """A run that was killed in its second stage."""
    here = laboratory.stopped(STOPPED, Fault("SIGKILL", 5, "rename checkpoint"))
    assert (here / OUT / "stages" / "1").is_dir()
    return here


@pytest.fixture(scope="module")
def finished(laboratory: Laboratory) -> Path:
    training = TRAININGS[FINISHED]
    here = laboratory.place(training)
    assert run(Command(here, training.words)).code == 0
    return here


@pytest.fixture(scope="module")
def right(finished: Path) -> dict[str, Any]:
    """What the readers give of the finished run."""
    return readings(finished, READERS)


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_a_stopped_run(laboratory: Laboratory, stopped: Path, kind: str) -> None:
    files = [f"{OUT}/{name}" for name in files_in(stopped / OUT)]
    assert len(files) >= 6
    verdicts = {file: damaged(laboratory, STOPPED, stopped, Damage(file, kind, 1, 3)) for file in files}
    assert {file: verdict for file, verdict in verdicts.items() if verdict.kind == "lost"} == {}


def test_files_of_a_finished_run(finished: Path, right: dict[str, Any]) -> None:
    files = [f"{OUT}/{name}" for name in files_in(finished / OUT)]
    found = {str(each): silently_other(finished, each, right, READERS)[0] for each in damages(files, 2)}
    assert {damage: readers for damage, readers in found.items() if readers} == {}
