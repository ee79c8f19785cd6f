"""The output on a terminal: a progress bar that is removed at the end, and the results."""

import io
import os
import pty
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TextIO

import pytest
from rich.console import Console

from smskd.cli.progress import Display
from smskd.errors import UserError
from smskd.recipe import read
from smskd.strategies.resolve import resolve
from smskd.training.run import Report
from tests.support.program import TINY, fine, run_main

CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def on_a_terminal(*words: object) -> str:
    """The output of the program on a terminal of 80 columns."""
    leader, follower = pty.openpty()
    written = bytearray()
    reader = Thread(target=_read, args=(leader, written))
    reader.start()
    with open(follower, "w", encoding="utf-8") as terminal:
        code = run_main(words, terminal, terminal)
    reader.join()
    os.close(leader)
    assert code == 0, written.decode()
    return written.decode()


def _read(leader: int, written: bytearray) -> None:
    """Reads until the terminal is closed."""
    with suppress(OSError):  # the end of the output of a pseudo-terminal
        while chunk := os.read(leader, 65536):
            written += chunk


def screen(written: str) -> list[str]:
    """The lines that remain on a terminal after this output."""
    lines, row, column = [""], 0, 0
    position = 0
    while position < len(written):
        control = CONTROL.match(written, position)
        if control:
            count, what = control.groups()
            if what == "A":
                row = max(0, row - int(count or 1))
            elif what == "K":
                lines[row] = "" if count == "2" else lines[row][:column]
            else:
                assert what in "mhl", control[0]
            position = control.end()
            continue
        character = written[position]
        if character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
        position += 1
    return [line.rstrip() for line in lines if line.strip()]


def test_a_run_on_a_terminal(here: Path, taught: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    written = on_a_terminal("train", "digits/fitnet-kd-no-reference", *taught, "--seeds", "0,1", "--out", "r")
    lines = screen(written)
    assert len(lines) == 4, lines
    for seed, line in enumerate(lines[1::2]):
        assert lines[2 * seed].startswith(f"fitnet-kd-no-reference seed {seed}  teacher  test ")
        assert line.startswith(f"fitnet-kd-no-reference seed {seed}: top-1 ")
        assert line.endswith(f"r/seed{seed}/report.html")
    plain = re.sub(CONTROL, "", written)
    assert "stage 1 fitnet test " in plain
    assert "stage 2 kd test " in plain
    assert re.search(r"2/2 .* left", plain)
    bars = [line for line in re.split(r"[\r\n]+", plain) if "━" in line]
    assert bars
    assert max(map(len, bars)) <= 80


def display_on(file: TextIO, *, quiet: bool = False, **environment: str) -> Display:
    console = Console(
        file=file, force_terminal=True, width=80, _environ={"TERM": "xterm", "TTY_INTERACTIVE": "1", **environment}
    )
    return Display(console, quiet=quiet)


def test_nothing_when_quiet() -> None:
    file = io.StringIO()
    display = display_on(file, quiet=True)
    with display.shown():
        display.say("text")
        assert list(display.reading(range(2), 2)) == [0, 1]
    assert (display.bars, file.getvalue()) == (None, "")


def test_a_terminal_that_cannot_move_its_cursor_gets_lines() -> None:
    assert display_on(io.StringIO()).bars is not None
    file = io.StringIO()
    display = display_on(file, TERM="dumb", TTY_INTERACTIVE="0")
    assert display.bars is None
    display.say("words")
    assert file.getvalue() == "words\n"


def test_the_bar_moves_within_an_epoch() -> None:
    display = display_on(io.StringIO())
    assert display.bars is not None
    seen = []
    with display.shown():
        task = display._run = display.bars.add_task("run", total=3, note="")
        for _ in display.track([None] * 4, 4, "epoch 1"):  # type: ignore[list-item]
            seen.append(display.bars.tasks[task].completed)
        for _ in display.track([None] * 4, 4, "pretraining ft, epoch 1"):  # type: ignore[list-item]
            assert display.bars.tasks[task].completed == 1.0
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_reading_images_is_shown() -> None:
    file = io.StringIO()
    display = display_on(file)
    with display.shown():
        assert list(display.reading(range(5), 5)) == [0, 1, 2, 3, 4]
    assert "reading images" in file.getvalue()
    assert display.bars is not None
    assert not display.bars.tasks


def test_a_file_gets_no_control_characters(here: Path) -> None:
    assert "\x1b" not in fine("methods", "kd")
    assert "\x1b" not in fine("train", "digits/teacher", *TINY, "student.name=resnet8")


class Times:
    """A clock that moves by some seconds whenever it is looked at."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class TestWithoutATerminal:
    def test_a_line_before_the_first_epoch_and_whenever_nothing_was_said_for_long(self) -> None:
        file = io.StringIO()
        display = Display(Console(file=file, width=80), clock=Times(7.0))
        assert list(display.track(range(12), 12, "testing the teacher")) == list(range(12))
        lines = file.getvalue().splitlines()
        assert lines == ["testing the teacher: 5 of 12", "testing the teacher: 10 of 12"]

    def test_nothing_of_a_run_that_is_refused_before_it_begins(self) -> None:
        file = io.StringIO()
        display = Display(Console(file=file, width=80), clock=Times(0.01))
        stages = resolve(read("digits/plain")).stages

        def refused() -> Iterator[Report]:
            raise UserError("it does not fit")
            yield

        with pytest.raises(UserError, match="it does not fit"):
            display.epochs(refused(), "plain seed 0", stages, 3)
        assert not file.getvalue()

        def stopped() -> Iterator[Report]:
            list(display.track(range(2), 2, "epoch 4"))
            raise UserError("it is interrupted")
            yield

        with pytest.raises(UserError, match="it is interrupted"):
            display.epochs(stopped(), "plain seed 0", stages, 3)
        assert file.getvalue() == f"plain seed 0  begins with epoch 4 of {stages[-1].last}\n"

    def test_nothing_where_it_is_quick(self) -> None:
        file = io.StringIO()
        display = Display(Console(file=file, width=80), clock=Times(0.01))
        assert list(display.reading(range(100), 100)) == list(range(100))
        assert not file.getvalue()

    def test_a_run(self, here: Path, taught: tuple[str, ...]) -> None:
        lines = fine("train", "digits/fitnet-kd", *taught, "--out", "r").splitlines()
        assert lines[0] == "fitnet-kd seed 0  begins with epoch 1 of 2"
        assert re.fullmatch(r"fitnet-kd seed 0  teacher  test [\d.]+%", lines[1])
        assert lines[2].startswith("fitnet-kd seed 0  epoch 1  stage 1")


def test_the_bar_leaves_room_for_the_tests_of_an_epoch() -> None:
    """Half of the first epoch's time was spent on tests: the training of the second is half of it."""
    file = io.StringIO()
    display = display_on(file)
    assert display.bars is not None
    display._share = 0.5
    with display.shown():
        task = display._run = display.bars.add_task("run", total=3, completed=1, note="")
        list(display.track(range(4), 4, "epoch 2"))
        assert display.bars.tasks[task].completed == 1.5
        list(display.track(range(4), 4, "testing"))
        assert display.bars.tasks[task].completed == 1.5
        assert display.bars.tasks[task].fields["note"] == "testing 4/4"
