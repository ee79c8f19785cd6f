"""Commands that several processes run together."""

import sys
from pathlib import Path
from typing import NoReturn

from smskd.cli.exits import INTERRUPTED, end
from smskd.distributed import environment
from smskd.errors import UserError
from smskd.runs.file_names import RECIPE, SUMMARY

JOINT = ("train", "resume")
"""The commands that several processes run together."""


def check_joint(command: str | None) -> None:
    """Refuses other commands in a process of ``torchrun`` or ``accelerate launch``.

    Raises:
        UserError: each of the processes would do all of the work.
    """
    if environment.count() > 1 and command not in JOINT:
        raise UserError(
            f"torchrun and accelerate launch start smskd {' and smskd '.join(JOINT)}, no other command; the runs of a "
            "sweep are trained by several processes each with runtime.processes"
        )


def start_together(wanted: int, *, beside: bool = False) -> None:
    """Runs the present command in several processes, and then ends the program; returns where this is one of them.

    Args:
        wanted: number of processes.
        beside: whether runs are to be trained beside each other in one process.

    Raises:
        UserError: that is to be done by several.
    """
    if beside and max(wanted, environment.count()) > 1:
        raise UserError("--together trains runs beside each other in one process; leave it or --processes out")
    if environment.count() > 1 or wanted == 1:
        return
    _run(wanted)


def check_count(given: int | None) -> None:
    """Compares ``--processes`` with the number that was started.

    Raises:
        UserError: it is another one.
    """
    started = environment.count()
    if given is not None and started > 1 and given != started:
        raise UserError(f"--processes: {given}, but {started} processes were started; leave it out")


def processes_of(path: Path) -> int:
    """The number of processes of the unfinished runs in and below a folder, by their recipes; 1 where nothing tells.

    Raises:
        UserError: they have different numbers.
    """
    recipes = [path / RECIPE] if (path / RECIPE).is_file() else sorted(path.rglob(f"*/{RECIPE}"))
    found = {number for number in map(_processes, recipes) if number is not None}
    if len(found) > 1:
        numbers = " and ".join(map(str, sorted(found)))
        raise UserError(f"{path}: its runs were begun with {numbers} processes; give the number with --processes")
    return next(iter(found), 1)


def _processes(file: Path) -> int | None:
    if (file.parent / SUMMARY).exists():
        return None
    from smskd.recipe import read  # not before it is needed: every command imports this module

    try:
        return read(file).runtime.processes
    except (UserError, OSError):  # told where the run is opened
        return None


def _run(count: int) -> NoReturn:
    from smskd.distributed.launch import run_job

    try:
        code, message = run_job([sys.executable, "-m", "smskd", *sys.argv[1:]], count)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as error:  # SIGTERM
        end(
            "ended by SIGTERM, with all processes of the job; the run can be resumed (smskd resume)",
            int(error.code or 1),
        )
    if message is not None:
        end(message, code)
    sys.exit(code)
