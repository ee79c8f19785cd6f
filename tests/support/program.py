"""Running the program: within the test's process, which is fast, or as a process of its own."""

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

TINY = ("data.train_limit=128", "data.test_limit=64", "epochs=2", "schedule.decay_epochs=[1]", "device=cpu")
"""Makes a recipe of the digits take a fraction of a second."""

MAIN = "from smskd.cli import main; main()"
PROCESS = (sys.executable, "-c", MAIN)


@dataclass(frozen=True)
class Outcome:
    """How the program ended, and what it printed."""

    code: int
    out: str
    err: str


def smskd(*words: object) -> Outcome:
    """Runs the program's ``main`` with these words on the command line."""
    from smskd.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: object = "main has not ended the program"
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
    """What the program prints, all having gone well."""
    outcome = smskd(*words)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out


def mistake(*words: object) -> str:
    """The one line that the program says of a mistake."""
    outcome = smskd(*words)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("smskd: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err.removeprefix("smskd: ").removesuffix("\n")


def start(*words: object, code: str = MAIN) -> "subprocess.Popen[str]":
    """The program, or other code that calls it, as a process of its own, one thread."""
    command = [sys.executable, "-c", code, *map(str, words)]
    added = {"OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | added)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two files hold the same tensors, bit for bit; the order of their metadata says nothing."""
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def everything_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder with what is in them, and the folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
