"""Running the program, in the process of the test, which is fast, or in a process of its own."""

import io
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from unittest import mock

import torch
from safetensors.torch import load_file

TINY = (
    "data.subset.train=128",
    "data.subset.test=64",
    "training.epochs=2",
    "schedule.decay_at=[1]",
    "runtime.device=cpu",
)
"""Overrides with which a recipe of the digits takes a fraction of a second."""

MAIN = "from smskd.cli import main; main()"
PROCESS = (sys.executable, "-c", MAIN)


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of the program."""

    code: int
    out: str
    err: str


def smskd(*words: object) -> Outcome:
    """Runs ``main`` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    code = run_main(words, out, err)
    return Outcome(code, out.getvalue(), err.getvalue())


def run_main(words: Iterable[object], out: TextIO, err: TextIO) -> int:
    """The exit code of ``main`` with these arguments, which writes into these streams."""
    from smskd.cli import main

    code: object = "main returned"
    with (
        mock.patch.object(sys, "argv", ["smskd", *map(str, words)]),
        redirect_stdout(out),
        redirect_stderr(err),
        _handler_kept(),
    ):
        try:
            main()
        except SystemExit as end:
            code = 0 if end.code is None else end.code
    assert isinstance(code, int)
    return code


@contextmanager
def _handler_kept() -> Iterator[None]:
    """The handler for worker processes that end is as before: the program takes it away before it ends."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


@contextmanager
def ctrl_c_stops_this_process() -> Iterator[None]:
    """SIGINT raises ``KeyboardInterrupt``, also where the process has inherited that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def fine(*words: object) -> str:
    """The output of the program, which must succeed without a message on stderr."""
    outcome = smskd(*words)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out


def mistake(*words: object) -> str:
    """The message of the program, which must fail with exit code 2 and one line."""
    outcome = smskd(*words)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("smskd: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err.removeprefix("smskd: ").removesuffix("\n")


def same_weights(one: Path, other: Path) -> bool:
    """Whether two files have bitwise equal tensors; metadata are ignored."""
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def everything_in(folder: Path) -> dict[str, bytes]:
    """The contents of all files below a folder, and its folders, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
