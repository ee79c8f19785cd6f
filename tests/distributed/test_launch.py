"""How a job of several processes ends."""

import os
import signal
import sys

import pytest

from smskd.cli import jobs
from smskd.distributed import launch
from smskd.distributed.launch import LOST, Job, run_job

PLACE = "import os, sys, time; rank = int(os.environ['RANK'])\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of these tests would wait for ever."""
    monkeypatch.setattr(launch, "GRACE", 0.5)


def ended(program: str, count: int = 2, *, silent: bool = True) -> tuple[int, str | None]:
    return run_job([sys.executable, "-S", "-c", PLACE + program], count, silent=silent)


def test_all_come_to_their_end() -> None:
    assert ended("assert os.environ['WORLD_SIZE'] == '3' and os.environ['SMSKD_RENDEZVOUS']", 3) == (0, None)


def test_a_killed_process_ends_the_job_with_a_line() -> None:
    code, message = ended("os.kill(os.getpid(), 9) if rank == 1 else time.sleep(600)")
    assert code == 1
    assert (
        message == "process 2 of 2 was killed (SIGKILL), and the job has ended; the run can be resumed (smskd resume)"
    )


def test_a_killed_process_is_named_where_another_has_noticed_it() -> None:
    code, message = ended(f"os.kill(os.getpid(), 9) if rank == 0 else sys.exit({LOST})")
    assert code == 1
    assert message is not None
    assert message.startswith("process 1 of 2 was killed (SIGKILL)")


def test_a_mistake_in_one_process_is_told() -> None:
    told = "sys.stderr.write('smskd: image 7 is broken\\n'); sys.exit(2)"
    assert ended(f"if rank == 1: {told}\ntime.sleep(600)") == (2, "image 7 is broken")


def test_a_mistake_of_all_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    told = "sys.stderr.write('smskd: no such recipe\\n'); sys.exit(2)"
    assert ended(told, silent=False) == (2, None)
    assert capfd.readouterr().err == "smskd: no such recipe\n"


def test_the_lines_of_a_bug_are_printed(capfd: pytest.CaptureFixture[str]) -> None:
    code, message = ended("if rank == 1: raise ValueError('never')\ntime.sleep(600)")
    assert (code, message) == (1, "ValueError: never")
    assert "Traceback" in capfd.readouterr().err


def test_sigterm_ends_the_program_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    started: list[Job] = []

    def run(command: list[str], count: int) -> tuple[int, str | None]:
        monkeypatch.setattr(launch, "Job", lambda *arguments, **options: started.append(Job(*arguments)) or started[0])
        sleeping = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
        return run_job(sleeping, count, watch=lambda: os.kill(os.getpid(), signal.SIGTERM))

    monkeypatch.setattr(launch, "run_job", run)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        jobs.start_together(2)
    assert ended.value.code == 128 + signal.SIGTERM
    assert capfd.readouterr().err == (
        "smskd: ended by SIGTERM, with all processes of the job; the run can be resumed (smskd resume)\n"
    )
    assert signal.getsignal(signal.SIGTERM) == before
    assert all(process.poll() is not None for process in started[0]._processes)


def test_an_exception_ends_the_processes() -> None:
    def watch() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_job([sys.executable, "-S", "-c", "import time; time.sleep(600)"], 2, watch=watch, silent=True)
