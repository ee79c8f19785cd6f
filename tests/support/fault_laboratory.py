"""Where trainings are hurt: each is trained once without a fault, and its copies are compared with that."""

import shutil
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.fault_folders import result
from tests.support.fault_hooks import COUNT, Fault
from tests.support.fault_processes import Command, Ended, run
from tests.support.fault_trainings import OUT, TRAININGS, Training


@dataclass(frozen=True)
class _Reference:
    """The uninterrupted training."""

    result: dict[str, Any]
    events: int
    seconds: float


class Laboratory:
    """Trains each training once without a fault, and hurts copies of it.

    Args:
        folder: for all that is trained.
        teacher: the file of the teacher's weights.
    """

    def __init__(self, folder: Path, teacher: Path) -> None:
        self._folder = folder
        self._teacher = teacher
        self._numbers = count()
        self._references: dict[str, _Reference] = {}

    def place(self, training: Training) -> Path:
        """A new folder, in which the training has not begun."""
        here = self._new()
        training.prepare(here, self._teacher)
        return here

    def reference(self, name: str) -> dict[str, Any]:
        """The result of the uninterrupted training."""
        return self._reference(name).result

    def events(self, name: str) -> int:
        """The number of events of the uninterrupted training."""
        return self._reference(name).events

    def seconds(self, name: str) -> float:
        """The time that the uninterrupted training took."""
        return self._reference(name).seconds

    def _reference(self, name: str) -> _Reference:
        if name not in self._references:
            training = TRAININGS[name]
            here = self.place(training)
            begun = time.monotonic()
            ended = run(Command(here, training.words, page=training.page))
            assert ended.code == 0, (name, ended)
            seconds = time.monotonic() - begun
            self._references[name] = _Reference(result(here, training.folders), ended.events, seconds)
            shutil.rmtree(here)
        return self._references[name]

    def stopped(self, name: str, fault: Fault) -> Path:
        """The folder of a training that was killed."""
        here, ended = self.begin(name, fault)
        assert ended.code < 0, ended
        (here / COUNT).unlink(missing_ok=True)
        return here

    def copy(self, here: Path) -> Path:
        """A copy of a training's folder."""
        return Path(shutil.copytree(here, self._new()))

    def begin(self, name: str, fault: Fault | None, here: Path | None = None) -> tuple[Path, Ended]:
        """Begins a training that a fault strikes; its folder, and how the process ended."""
        training = TRAININGS[name]
        here = here or self.place(training)
        return here, run(Command(here, training.words, fault, training.page))

    def resume(self, name: str, here: Path, fault: Fault | None = None) -> Ended:
        """Goes on with it, or begins it again where nothing was begun, as a user would."""
        training = TRAININGS[name]
        again = ("resume", OUT, "-q") if training.words[0] == "train" else training.words
        ended = run(Command(here, again, fault, training.page))
        if ended.is_one_line and ("holds no run" in ended.message or "no such folder" in ended.message):
            return run(Command(here, training.words, fault, training.page))
        return ended

    def _new(self) -> Path:
        return self._folder / str(next(self._numbers))
