"""Runs that are killed at a chosen moment, within the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from smskd.runs import atomic_files as files
from smskd.runs.folder import METRICS, RunFolder
from smskd.training.state import TrainingState

_WATCHED = (
    (TrainingState, "begin_stage", "the begin of a stage"),
    (TrainingState, "end_stage", "the end of a stage"),
    (RunFolder, "append_metrics", "metrics"),
    (RunFolder, "append_pretraining", "pretraining"),
    (RunFolder, "save_checkpoint", "a checkpoint"),
    (RunFolder, "save_student", "a student"),
    (RunFolder, "save_summary", "the summary"),
    (RunFolder, "conclude", "the end"),
)


class Killed(BaseException):
    """Stands for the end of the process: nothing in the package may catch it."""


@dataclass
class Killer:
    """Kills when a moment has come for the given time.

    Attributes:
        moment: ``before`` or ``after`` something of the table above, ``in the middle of <file>``, ``in the middle of a
            line`` of metrics, or ``a step`` of an optimizer. Empty: never.
        time: 1 for the first occurrence.
    """

    moment: str = ""
    time: int = 0

    def passes(self, moment: str) -> None:
        """Is called at each moment."""
        if moment == self.moment:
            self.time -= 1
            if self.time == 0:
                self.moment = ""
                raise Killed


@contextmanager
def watch_moments(monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    """A killer that every run passes by."""
    killer = Killer()
    for owner, name, what in _WATCHED:
        _watch(monkeypatch, killer, owner, name, what)
    _watch_files(monkeypatch, killer)
    _watch_lines(monkeypatch, killer)
    handle = register_optimizer_step_post_hook(lambda *_: killer.passes("a step"))
    yield killer
    handle.remove()


def _watch(monkeypatch: pytest.MonkeyPatch, killer: Killer, owner: Any, name: str, what: str) -> None:
    original = getattr(owner, name)

    def passing(*arguments: Any, **options: Any) -> Any:
        killer.passes(f"before {what}")
        result = original(*arguments, **options)
        killer.passes(f"after {what}")
        return result

    monkeypatch.setattr(owner, name, passing)


def _watch_files(monkeypatch: pytest.MonkeyPatch, killer: Killer) -> None:
    replace = files.os.replace

    def replacing(source: Path, target: Path) -> None:
        try:
            killer.passes(f"in the middle of {target.name}")
        except Killed:
            # A process that is killed here leaves a file half written, under its temporary name.
            (target.parent / f".{target.name}.1.tmp").write_bytes(source.read_bytes()[:100])
            raise
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", replacing)


def _watch_lines(monkeypatch: pytest.MonkeyPatch, killer: Killer) -> None:
    append = RunFolder.append_metrics

    def torn(self: RunFolder, line: dict[str, Any]) -> None:
        try:
            killer.passes("in the middle of a line")
        except Killed:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write('{"epoch": 1, "sta')
            raise
        append(self, line)

    monkeypatch.setattr(RunFolder, "append_metrics", torn)
