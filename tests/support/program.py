"""Running the program, in the process of the test, which is fast, or in a process of its own."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
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
    from smskd.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: object = "main returned"
    with (
        mock.patch.object(sys, "argv", ["smskd", *map(str, words)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = 0 if end.code is None else end.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


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


def start(*words: object, code: str = MAIN) -> "subprocess.Popen[str]":
    """Starts the program, or other code that calls it, in a process of its own with one thread."""
    command = [sys.executable, "-c", code, *map(str, words)]
    added = {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | added)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two files have bitwise equal tensors; metadata are ignored."""
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def everything_in(folder: Path) -> dict[str, bytes]:
    """The contents of all files below a folder, and its folders, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
