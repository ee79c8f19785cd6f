"""The work of one process of a sweep: one run after another, as long as there are any."""

import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from smskd.build import Provided
from smskd.errors import UserError
from smskd.models.memory_errors import is_out_of_memory
from smskd.recipe import Recipe
from smskd.recipe.absolute_paths import absolute_paths
from smskd.runs.file_names import RECIPE
from smskd.session import Run, begin, reopen_folder
from smskd.strategies.resolve import resolve
from smskd.sweeps.board import Board, Job
from smskd.sweeps.joint_runs import train_together
from smskd.sweeps.run_queue import BEAT
from smskd.sweeps.space import Point
from smskd.sweeps.workers import Loaded, dataset_of
from smskd.training.config import RunConfig
from smskd.training.reports import CacheReport, EpochReport, StoreReport
from smskd.training.run import Report

STORE = "store"
"""The folder of the stages of a sweep, in its own."""

WAIT = 0.5
"""Seconds between two looks at what other processes have left."""


@dataclass(frozen=True)
class Told:
    """A message of a worker.

    Attributes:
        run: the folder of the run, in that of the sweep.
        kind: ``epoch``: one has been trained; ``stored``: a stage was taken from the store; ``waiting``: for another
            run that trains a stage; ``note``: how it is trained; ``finished``, ``pruned``, ``failed``: its end.
        epochs: trained or taken. message: a sentence.
    """

    run: Path
    kind: Literal["epoch", "stored", "waiting", "note", "finished", "pruned", "failed"]
    epochs: int = 0
    message: str = ""


def work(board: Board, out: Path, told: Callable[[Told], None], *, waits: bool = True) -> None:
    """Trains runs of a sweep until none is left.

    Args:
        board: the sweep.
        out: its folder on this machine.
        told: called after each epoch and at other moments.
        waits: whether it waits for runs that others train, which may be left if these die.
    """
    loaded: Loaded = []
    while True:
        job = board.next_job()
        if isinstance(job, Job):
            work_at(job, board, out, told, loaded)
        elif job == "done" or not waits:
            return
        else:
            time.sleep(WAIT)


def recipe_of(board: Board, point: Point, out: Path) -> Recipe:
    """The recipe of a run, with the store of the sweep unless it names another one."""
    recipe = point.recipe(board.sweep)
    if recipe.runtime.store is not None:
        return recipe
    return replace(recipe, runtime=replace(recipe.runtime, store=str((out / STORE).resolve())))


def reports_of(run: Run, config: RunConfig) -> Generator[Report, None, Any]:
    """Trains a run, without a page."""
    return run.train(config, report=False)


def work_at(
    job: Job,
    board: Board,
    out: Path,
    told: Callable[[Told], None],
    loaded: Loaded,
    *,
    reports: Callable[[Run, RunConfig], Generator[Report, None, Any]] = reports_of,
    again: Callable[[BaseException], bool] = lambda error: False,
) -> None:
    """Trains a run that was claimed, and tells the others what has become of it.

    Args:
        job: the run.
        board: the sweep.
        out: its folder on this machine.
        told: called after each epoch and at other moments.
        loaded: data of runs before it.
        reports: trains it.
        again: whether an error is no fault of the run: it is given back, and the error raised.
    """
    folder, queue = job.point.folder, board.queue
    try:
        with _signs_of_life(board, job.number):
            value = _train(job, board, out, told, loaded, reports)
    except Exception as error:
        if _breaks_the_process(error):
            queue.lose(job.number)
            raise
        if again(error) or isinstance(error, ConnectionError):
            queue.give_back(job.number)
            raise
        message = _reason(folder, error)
        queue.fail(job.number, message)
        told(Told(folder, "failed", message=message))
    except BaseException:
        queue.give_back(job.number)
        raise
    else:
        if value is None:
            queue.prune(job.number)
            told(Told(folder, "pruned"))
        else:
            queue.complete(job.number, value)
            told(Told(folder, "finished", message=f"{value:.2f}"))


def _reason(folder: Path, error: Exception) -> str:
    """Why a run cannot be trained, in a line. The lines of a bug are printed."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{folder}: {error}"
    traceback.print_exception(error)
    first = str(error).strip().partition("\n")[0]
    return f"{folder}: {type(error).__name__}: {first}" if first else f"{folder}: {type(error).__name__}"


def _breaks_the_process(error: Exception) -> bool:
    """Whether nothing can be computed on the GPU in this process any more."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


def _train(
    job: Job,
    board: Board,
    out: Path,
    told: Callable[[Told], None],
    loaded: Loaded,
    reports_of: Callable[[Run, RunConfig], Generator[Report, None, Any]],
) -> float | None:
    """The accuracy of a run that is trained to its end; None if a search goes no further with it."""
    folder, queue, stages = job.point.folder, board.queue, board.stages_of(job.point)
    run = opened(recipe_of(board, job.point, out), out / folder)
    if run.folder.finished:
        queue.tell(job.number, ready=[stage.digest for stage in stages])
        return _accuracy(run)
    if run.recipe.runtime.processes > 1:
        return _trained_together(job, board, run, told)
    run = replace(run, epochs_after=max(0, board.plan.epochs - run.recipe.epochs))
    config = run.build(Provided(dataset=dataset_of(run, loaded)))
    ends = {stage.last: index for index, stage in enumerate(run.recipe.stages)}
    trained, ready = 0, list[str]()
    with closing(reports_of(run, config)) as reports:
        for report in reports:
            if isinstance(report, StoreReport) and report.waits_for is not None:
                told(Told(folder, "waiting", message=str(report)))
                continue
            if isinstance(report, CacheReport):
                told(Told(folder, "note", message=str(report)))
            if not isinstance(report, EpochReport | StoreReport):
                continue
            last = report.epoch if isinstance(report, EpochReport) else report.last
            count = 1 if isinstance(report, EpochReport) else report.last - report.first + 1
            trained += isinstance(report, EpochReport)
            facts: dict[str, object] = {"epoch": last, "trained": trained}
            if last in ends:
                ready = [stage.digest for stage in stages[: ends[last] + 1]]
                following = stages[ends[last] + 1 :]
                facts |= {"ready": ready, "stage": following[0].digest if following else None}
            queue.tell(job.number, **facts)
            told(Told(folder, "epoch" if isinstance(report, EpochReport) else "stored", count))
            if board.search and isinstance(report, EpochReport) and last < run.recipe.epochs:
                accuracy = report.validation_top1
                if accuracy is not None and queue.should_prune(job.number, last, accuracy):
                    return None
    return _accuracy(run)


def _trained_together(job: Job, board: Board, run: Run, told: Callable[[Told], None]) -> float | None:
    """As :func:`_train`, by several processes, which do not share stages with other runs."""
    trained = 0

    def on_epoch(metrics: Mapping[str, Any]) -> bool:
        nonlocal trained
        trained += 1
        last, accuracy = metrics["epoch"], metrics.get("validation_top1")
        board.queue.tell(job.number, epoch=last, trained=trained)
        told(Told(job.point.folder, "epoch", 1))
        if board.search is None or accuracy is None or last == run.recipe.epochs:
            return True
        return not board.queue.should_prune(job.number, last, accuracy)

    return _accuracy(run) if train_together(run, on_epoch) else None


def opened(recipe: Recipe, folder: Path) -> Run:
    """The run in a folder, begun if there is none.

    Raises:
        UserError: the folder contains a run with other settings.
    """
    if not (folder / RECIPE).is_file():
        return begin(recipe, folder)
    run = reopen_folder(folder, trust=True)  # the recipe is compared with the sweep's
    if run.recipe.as_mapping() != resolve(absolute_paths(recipe)).as_mapping():
        raise UserError(f"{folder} contains a run with other settings; choose another folder with --out")
    return run


def _accuracy(run: Run) -> float:
    """Of the last epoch: on the validation split where there is one, else on the test images."""
    metrics = run.folder.last_metrics()
    validation = metrics.get("validation_top1")
    return float(metrics["test_top1"] if validation is None else validation)


@contextmanager
def _signs_of_life(board: Board, number: int) -> Iterator[None]:
    """Tells the other processes, now and then, that this one lives."""
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(BEAT):
            count += 1
            with suppress(Exception):  # the next one may come through
                board.queue.tell_if_running(number, {"beat": count})

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
