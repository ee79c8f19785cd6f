"""Threads that take tasks: which tasks are beside each other."""

import threading
import time
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from smskd import turns
from smskd.sweeps import threads
from smskd.sweeps.threads import Seat, Task, Threads


class Scripted:
    """A task that notes which others are trained at the same time."""

    def __init__(self, name: str, source: "Tasks", *, alone: bool = False) -> None:
        self.folder, self.alone, self._source = Path(name), alone, source
        self.beside = set[str]()

    def told(self, sentence: str) -> str:
        return sentence

    def train(self, seat: Seat) -> None:
        now = self._source.now
        now.add(self.folder.name)
        seat.say(threads._EPOCH)
        end = time.monotonic() + 10
        steps = 0
        while steps < 20 and time.monotonic() < end:
            # The first one goes on until another has been taken.
            steps += self._source.given >= 2
            self.beside |= now - {self.folder.name}
            with turns.waiting():
                time.sleep(0.001)
        seat.say(self.folder.name)
        now.remove(self.folder.name)


class Tasks:
    """A list of tasks as their source."""

    def __init__(self) -> None:
        self.tasks: list[Scripted] = []
        self.now = set[str]()
        self.given = 0

    def take(self) -> Task | Literal["wait", "done"]:
        if self.given == len(self.tasks):
            return "done"
        self.given += 1
        return self.tasks[self.given - 1]

    def give_back(self, task: Task, *, alone: bool) -> None:
        self.given -= 1

    def left(self) -> int:
        return len(self.tasks) - self.given


def trained(*alone: bool) -> tuple[list[set[str]], list[Any]]:
    """What each task has had beside it, and the messages."""
    source = Tasks()
    source.tasks = [Scripted(str(place), source, alone=own) for place, own in enumerate(alone)]
    messages: list[Any] = []
    Threads(source, torch.device("cpu"), 3).work(messages.append)
    return [task.beside for task in source.tasks], messages


def test_tasks_are_beside_each_other() -> None:
    beside, messages = trained(False, False)
    assert beside == [{"1"}, {"0"}]
    assert sorted(messages) == ["0", "1"]


def test_a_task_that_is_to_be_alone_is() -> None:
    beside, messages = trained(False, True, False, False)
    assert beside[:2] == [set(), set()]
    assert beside[2:] == [{"3"}, {"2"}]
    assert messages[:2] == ["0", "1"]


def test_an_error_of_a_source_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: Tasks) -> int:
        raise ConnectionError("no connection")

    before = threading.active_count()
    monkeypatch.setattr(Tasks, "take", lost)
    with pytest.raises(ConnectionError):
        trained(False)
    assert threading.active_count() == before
