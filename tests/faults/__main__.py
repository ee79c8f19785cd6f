"""The long form of these tests: `make faults`."""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from itertools import chain
from pathlib import Path

from smskd.models import save_weights
from tests.support import tiny
from tests.support.fault_campaign import Trial, readings_of_damaged_files, trials
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_scenarios import Verdict
from tests.support.fault_table import Tally, write_table


def main() -> None:
    """Tries everything, prints the table, and ends with exit code 1 if something was lost."""
    parser = argparse.ArgumentParser(prog="make faults", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="trials that would begin later are left out")
    parser.add_argument("--kills", type=int, default=100, help="trainings that get SIGKILL at random events")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="trials whose kind or name contains this text")
    parser.add_argument("--jobs", type=int, default=2, help="trials at the same time")
    parser.add_argument("--write", type=Path, help="page of the documentation, in which the table is replaced")
    arguments = parser.parse_args()
    if arguments.only and arguments.write:
        parser.error("a table of some trials is not written; leave out --write")
    with tempfile.TemporaryDirectory() as folder:
        table, lost = campaign(Path(folder), arguments)
    print(table)
    print(*lost, sep="\n")
    if arguments.write:
        write_table(arguments.write, table)
    sys.exit(1 if lost else 0)


def campaign(folder: Path, arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """The table, and everything that was lost."""
    save_weights(tiny.teacher(), folder / "teacher.safetensors")
    laboratory = Laboratory(folder / "laboratory", folder / "teacher.safetensors")
    begun, tally = time.monotonic(), Tally()

    def chosen(trial: Trial) -> bool:
        return arguments.only in f"{trial.kind}: {trial.name}"

    attempt = partial(_attempt, begun + 60 * arguments.minutes)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        every = trials(laboratory, arguments.kills, arguments.seed)
        together = [pool.submit(attempt, trial) for trial in every if chosen(trial)]
        skipped = sum(
            _tell(tally, trial, verdict, time.monotonic() - begun)
            for trial, verdict in chain(
                map(attempt, filter(chosen, readings_of_damaged_files(laboratory))),
                (done.result() for done in as_completed(together)),
            )
        )
    return tally.markdown(time.monotonic() - begun, skipped), tally.lost


def _tell(tally: Tally, trial: Trial, verdict: Verdict | None, seconds: float) -> bool:
    """Prints and counts a verdict; whether the trial was left out."""
    if verdict is None:
        return True
    tally.add(trial.kind, trial.name, verdict)
    print(f"{seconds:6.0f} s  {verdict.kind:9}{trial.kind}: {trial.name}", flush=True)
    if verdict.kind == "lost":
        print(f"          {verdict.detail}", flush=True)
    return False


def _attempt(end: float, trial: Trial) -> tuple[Trial, Verdict | None]:
    """A trial with its verdict; None if its time is over."""
    if time.monotonic() > end:
        return trial, None
    try:
        return trial, trial.verdict()
    except Exception as error:
        return trial, Verdict("lost", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
