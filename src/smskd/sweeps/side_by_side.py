"""Training runs that have a folder, several at a time, in threads of this process."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from smskd.build import Provided
from smskd.config.data import DataConfig
from smskd.config.runtime import RuntimeConfig
from smskd.errors import UserError
from smskd.session import Run
from smskd.sweeps.threads import Seat, Source, Task, Threads
from smskd.sweeps.workers import Loaded, dataset_of
from smskd.training.globals import computing
from smskd.training.host import device_of, keep_freed_memory
from smskd.training.run import Report


@dataclass(frozen=True)
class Message:
    """A message of a run.

    Attributes:
        run: that it is about.
        kind: ``report``: of an epoch or the like; ``finished``: the run is complete; ``failed``: it cannot be trained;
            ``note``: a sentence about how it is trained.
        content: the report, the error, or the sentence.
    """

    run: Run
    kind: Literal["report", "finished", "failed", "note"]
    content: Report | BaseException | str = ""


def train_side_by_side(runs: Sequence[Run], loaded: Loaded, most: int | None, told: Callable[[Message], None]) -> None:
    """Trains runs, as many at a time as the memory holds, without a page for each.

    The first one is trained alone until the end of its first epoch, which shows how much memory a run takes. A run
    that fails does not keep the others from training. An exception that passes through, Ctrl-C among them, stops all
    runs before their next step; all can then be resumed.

    Args:
        runs: on one device, with one choice of TF32.
        loaded: the data of each of them.
        most: at a time; None: as many as fit.
        told: called in this thread for each message.

    Raises:
        UserError: runs that cannot be trained in one process.
    """
    check_settings((run.recipe.runtime, run.recipe.data) for run in runs)
    work_side_by_side(_Runs(runs, loaded), runs[0].recipe.runtime, most, told)


def work_side_by_side(source: Source, runtime: RuntimeConfig, most: int | None, told: Callable[[Any], None]) -> None:
    """Trains what there is to be trained, as many at a time as the memory holds.

    Args:
        source: of the runs.
        runtime: of any of them.
        most: at a time; None: as many as fit.
        told: called in this thread for each message.
    """
    device = device_of(runtime.device)
    keep_freed_memory(device)
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # before the turns look for its generators
    with computing(runtime):
        Threads(source, device, most).work(told)


def check_settings(settings: Iterable[tuple[RuntimeConfig, DataConfig]]) -> None:
    """Raises UserError for settings of runs that cannot be trained in one process."""
    found = list(settings)
    if any(runtime.processes > 1 for runtime, _ in found):
        raise UserError(
            "--together trains runs beside each other in one process; leave it out, or set runtime.processes=1"
        )
    if len({(runtime.device, runtime.tf32) for runtime, _ in found}) > 1:
        raise UserError(
            "--together: runtime.device and runtime.tf32 differ between the runs, and a process has one of each at a "
            "time; train them without --together"
        )
    if any(data.loader.workers for _, data in found):
        raise UserError(
            "--together: worker processes of a data loader cannot be started beside other runs; set "
            "data.loader.workers=0, or leave out --together"
        )


class _Runs:
    """The runs, as a source of tasks."""

    def __init__(self, runs: Sequence[Run], loaded: Loaded) -> None:
        self._waiting: deque[Task] = deque(_Task(run, loaded) for run in runs)
        self._alone: deque[Task] = deque()

    def take(self) -> Task | Literal["wait", "done"]:
        """The next one; those that are to be alone come last."""
        for waiting in (self._waiting, self._alone):
            if waiting:
                return waiting.popleft()
        return "done"

    def give_back(self, task: Task, *, alone: bool) -> None:
        """It is to be trained again."""
        (self._alone if alone else self._waiting).append(task)

    def left(self) -> int:
        """All that nobody has taken."""
        return len(self._waiting) + len(self._alone)


class _Task:
    """A run that is trained beside others."""

    alone = False

    def __init__(self, run: Run, loaded: Loaded) -> None:
        self._run, self._loaded = run, loaded

    @property
    def folder(self) -> Path:
        return self._run.folder.path

    def told(self, sentence: str) -> Message:
        return Message(self._run, "note", sentence)

    def train(self, seat: Seat) -> None:
        own = replace(self._run, fresh=False)  # its folder is kept: it may be begun again
        try:
            config = own.build(Provided(dataset=dataset_of(own, self._loaded)))
            for report in seat.reports(own, config):
                seat.say(Message(self._run, "report", report))
            seat.say(Message(self._run, "finished"))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if seat.again(error):
                raise
            seat.say(Message(self._run, "failed", error))
