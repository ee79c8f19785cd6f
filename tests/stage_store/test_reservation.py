"""Of several processes that want the same stage, one trains it and the others wait for it, or for its end."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smskd.runs.folder import RunFolder
from smskd.stage_store.pruning import listed
from smskd.stage_store.reservation import Reservation
from smskd.training.reports import EpochReport, StoreReport
from smskd.training.run import run
from tests.support import run_cases
from tests.support.stored import outcome, reports, trained_epochs, with_store

HOLDER = """
import sys
from pathlib import Path
from smskd.stage_store.reservation import Reservation
reservation = Reservation(Path(sys.argv[1]))
assert not list(reservation.acquire())
with reservation:
    print("held", flush=True)
    sys.stdin.readline()
"""


class Holder:
    """Another process that has reserved a stage."""

    def __init__(self, file: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(file)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def finish(self) -> None:
        self.process.communicate("\n", timeout=60)


@pytest.fixture
def holder(whole: dict[str, Any], tmp_path: Path) -> Iterator[Holder]:
    """Of the first stage of the run, in the empty store of this test."""
    (tmp_path / "store").mkdir()
    process = Holder(tmp_path / "store" / first_stage(whole).name)
    yield process
    process.process.kill()
    process.process.communicate()


def first_stage(whole: dict[str, Any]) -> Path:
    return next(entry.file for entry in listed(whole["store"]) if entry.stages == 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    reports(run_cases.three_stages(), folder / "run", folder / "store")
    return {"store": folder / "store", "outcome": outcome(folder / "run")}


def begun(folder: Path) -> Iterator[Any]:
    """A run that has come to wait for the other process."""
    (folder / "run").mkdir()
    training = run(with_store(run_cases.three_stages(), folder / "store"), RunFolder(folder / "run"))
    for report in training:
        if isinstance(report, StoreReport):
            assert report.waits_for is not None
            break
        assert not isinstance(report, EpochReport)
    return training


def test_it_waits_and_takes_what_the_other_has_trained(holder: Holder, whole: dict[str, Any], tmp_path: Path) -> None:
    training = begun(tmp_path)
    shutil.copy(first_stage(whole), tmp_path / "store")
    holder.finish()
    assert trained_epochs(list(training)) == [3, 4, 5, 6]


def test_it_names_the_process_that_it_waits_for(holder: Holder, whole: dict[str, Any], tmp_path: Path) -> None:
    told = next(iter(Reservation(tmp_path / "store" / first_stage(whole).name).acquire()))
    assert told.startswith(f"process {holder.process.pid} on ")


def test_it_trains_when_the_other_is_killed(holder: Holder, whole: dict[str, Any], tmp_path: Path) -> None:
    training = begun(tmp_path)
    holder.process.kill()
    assert trained_epochs(list(training)) == [1, 2, 3, 4, 5, 6]
    RunFolder(tmp_path / "run").conclude()
    assert outcome(tmp_path / "run") == whole["outcome"]


def test_two_runs_of_one_process_do_not_wait_for_each_other(whole: dict[str, Any], tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runs.append(run(with_store(run_cases.three_stages(), tmp_path / "store"), RunFolder(tmp_path / name)))
    epochs = [next(report.epoch for report in each if isinstance(report, EpochReport)) for each in runs]
    assert epochs == [1, 1]
    for each in runs:
        list(each)
    for name in ("one", "two"):
        RunFolder(tmp_path / name).conclude()
        assert outcome(tmp_path / name) == whole["outcome"]


def test_a_run_that_is_stopped_gives_its_reservation_back(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    training = run(with_store(run_cases.three_stages(), tmp_path / "store"), RunFolder(tmp_path / "run"))
    next(report for report in training if isinstance(report, EpochReport))
    assert len(list((tmp_path / "store").glob("*.lock"))) == 1
    training.close()
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_that_cannot_be_written_is_not_locked(tmp_path: Path) -> None:
    reservation = Reservation(tmp_path / "gone" / "x.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reservation._lock, "acquire", _refused)
        assert list(reservation.acquire()) == []
    with reservation:
        pass


def _refused(**_: Any) -> None:
    raise PermissionError("read-only")
