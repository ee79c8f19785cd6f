"""`smskd sweep`."""

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from smskd.analysis.compare import compare
from smskd.analysis.format import duration
from smskd.cli.comparison import print_comparison, tell
from smskd.cli.exits import INTERRUPTED, end
from smskd.cli.printing import console, print_footnote
from smskd.cli.progress import Display
from smskd.cli.sweep_bars import SweepBars
from smskd.errors import UserError
from smskd.report.page import PAGE
from smskd.runs.reader import find_finished
from smskd.sweeps.beginning import begin, place_of
from smskd.sweeps.beside import Beside
from smskd.sweeps.board import Board
from smskd.sweeps.checks import check_trust
from smskd.sweeps.crew import train_sweep
from smskd.sweeps.plan import Plan, plan
from smskd.sweeps.rough_time import STEPS, rough_time
from smskd.sweeps.run_queue import latest
from smskd.sweeps.space import points
from smskd.sweeps.storage import JOURNAL
from smskd.sweeps.sweep_beside import check_beside
from smskd.sweeps.sweep_file import Sweep
from smskd.sweeps.totals import totals


def begin_sweep(
    sweep: Sweep,
    out: Path,
    storage: str | None,
    workers: int,
    display: Display,
    again: str,
    beside: Beside | None = None,
) -> None:
    """Trains a sweep, or goes on with it.

    Args:
        sweep: that was read.
        out: its folder.
        storage: URL of a database; None: a journal in the folder.
        workers: processes on this machine.
        display: of the progress.
        again: the command that goes on after Ctrl-C.
        beside: whether runs are trained beside each other.

    Raises:
        UserError: a run cannot be trained; if it is found before training, nothing has begun.
    """
    with display.shown():
        board = begin(sweep, out, storage, display.track, beside=beside)
    _train(board, out, workers, display, again, beside)


def join_sweep(
    url: str,
    name: str,
    out: Path | None,
    workers: int,
    display: Display,
    beside: Beside | None = None,
    *,
    trust: bool,
) -> None:
    """Trains runs of a sweep that was begun elsewhere.

    Args:
        url: of its database.
        name: of the sweep.
        out: folder for the runs of this machine; None: ``runs/<name>``.
        workers: processes on this machine.
        display: of the progress.
        beside: whether runs are trained beside each other.
        trust: whether names are imported that do not come with the package.

    Raises:
        UserError: there is no such sweep, or a run cannot be trained.
    """
    board = Board.join(url, name)
    if not trust:
        check_trust(board)
    if beside is not None:
        check_beside(board)
    folder = out or Path("runs") / board.sweep.config.name
    folder.mkdir(parents=True, exist_ok=True)
    again = f"smskd sweep --join {shlex.quote(url)} --name {shlex.quote(name)}{f' {beside}' if beside else ''}"
    _train(board, folder, workers, display, again, beside)


def print_plan(sweep: Sweep, out: Path, display: Display, *, as_json: bool) -> None:
    """Prints the stages that would be trained, and how long that takes. Nothing is written.

    The time is that at the speed of finished runs, else a rough one, from a few steps of each kind of stage.

    Args:
        sweep: that was read.
        out: its folder.
        display: of the progress of measuring.
        as_json: print JSON.

    Raises:
        UserError: a recipe cannot be resolved.
    """
    search = sweep.config.search
    if search is not None:
        typer.echo(f"a search for the best sequence of {', '.join(search.of)}, which trains {search.epochs} epochs")
        return
    found = plan(sweep, points(sweep.config))
    uses = found.uses()
    rows = [
        {"stages": stage.methods, "seed": stage.seed, "epochs": stage.epochs, "runs": uses[digest]}
        for digest, stage in found.distinct.items()
    ]
    estimated = _estimate(sweep, found, out, display)
    if as_json:
        typer.echo(json.dumps({"stages": rows, **_epochs(found, estimated)}, indent=2, ensure_ascii=False))
        return
    table = Table("stages", "seed", "epochs", "runs", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table, highlight=False)
    print_footnote(
        f"{len(found.points)} runs; {len(rows)} stages, {found.epochs} epochs; {found.epochs_of_all_runs} epochs "
        "without sharing"
    )
    print_footnote(estimated.sentence)


@dataclass(frozen=True)
class _Estimate:
    """The time of a sweep: seconds, from what it was estimated, and a sentence."""

    seconds: float | None
    basis: Literal["runs", "steps"] | None
    sentence: str


def _estimate(sweep: Sweep, found: Plan, out: Path, display: Display) -> _Estimate:
    """How long a sweep takes: at the speed of the runs of it that are finished, or of a few steps of its stages."""
    with suppress(UserError):
        speed = totals(out).seconds_per_epoch
        if speed is not None:
            seconds = speed * found.epochs
            at = f"at {speed:.2g} s an epoch, the mean of those in {out}"
            text = f"{duration(seconds)} of training in all, divided by the runs at a time, {at}"
            return _Estimate(seconds, "runs", text)
    try:
        with display.shown():
            rough = rough_time(sweep, found, display.track)
    except UserError as error:
        return _Estimate(None, None, f"the time cannot be estimated: {error}")
    text = (
        f"roughly {duration(rough.seconds)} of training in all, divided by the runs at a time, from {STEPS} steps of "
        f"{rough.measured} of {rough.kinds} kinds of stages with one thread, without a teacher's cache and without the "
        "reading of images"
    )
    return _Estimate(rough.seconds, "steps", text)


def print_status(out: Path, storage: str | None, name: str, *, as_json: bool) -> None:
    """Prints how far a sweep is.

    Raises:
        UserError: it has not begun.
    """
    board = Board.join(_begun(out, storage), name)
    attempts = latest(board.queue.attempts())
    failures = board.failures()
    states = [attempt.state for attempt in attempts.values()]
    counts = {state: states.count(state) for state in ("complete", "pruned", "running")} | {"failed": len(failures)}
    if board.search is None:
        counts["waiting"] = len(board.plan.points) - counts["complete"] - counts["running"] - counts["failed"]
    running = [
        {"run": attempt.run, **attempt.worker, "epoch": attempt.facts["epoch"], "epochs": attempt.facts["epochs"]}
        for attempt in attempts.values()
        if attempt.state == "running"
    ]
    if as_json:
        typer.echo(json.dumps({**counts, "runs": running, "failures": failures}, indent=2, ensure_ascii=False))
        return
    typer.echo(", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "complete"))
    for run in running:
        typer.echo(f"{run['run']}: epoch {run['epoch']} of {run['epochs']}, process {run['process']} on {run['host']}")
    for folder, message in failures.items():
        typer.echo(f"{folder}: {message}")


def print_table(out: Path, baseline: str | None = None, *, as_json: bool) -> None:
    """Prints the comparison of the finished runs, with the epochs that were trained for it.

    Args:
        out: folder of the sweep.
        baseline: name of the runs from which differences are taken; None: there are none.
        as_json: print JSON.

    Raises:
        UserError: there is no finished run.
    """
    if baseline is not None and baseline not in {row.label for row in compare(find_finished([out])[0])}:
        tell([f"no run of the baseline, '{baseline}', is finished"])
        baseline = None
    print_comparison([out], "json" if as_json else "table", baseline=baseline)
    if not as_json:
        print_footnote(str(totals(out)))


def _train(board: Board, out: Path, workers: int, display: Display, again: str, beside: Beside | None) -> None:
    bars = SweepBars(display, board)
    try:
        with display.shown(), bars.shown():
            notes = train_sweep(board, out, workers, bars.update, beside)
        tell(notes)
    except KeyboardInterrupt:
        end(f"stopped; go on with: {again}", INTERRUPTED)
    finally:
        with suppress(UserError):
            display.say(f"{totals(out)}; compare them with: smskd sweep --table --out {shlex.quote(str(out))}")
            if (out / PAGE).is_file():
                display.say(f"page: {out / PAGE}")


def _epochs(found: Plan, estimated: _Estimate) -> Mapping[str, Any]:
    return {
        "runs": len(found.points),
        "epochs": found.epochs,
        "epochs_without_sharing": found.epochs_of_all_runs,
        "seconds": estimated.seconds,
        "estimated_from": estimated.basis,
    }


def _begun(out: Path, storage: str | None) -> str:
    if storage is None and not (out / JOURNAL).is_file():
        raise UserError(f"{out} holds no sweep that was begun (no {JOURNAL} in it)")
    return place_of(out, storage)
