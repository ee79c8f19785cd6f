"""Closed and full standard streams, poor encodings, Ctrl-C while importing, errors of the machine: one line or none."""

import subprocess
import sys
from pathlib import Path

import pytest

from smskd.cli import show_recipes
from smskd.cli.printing import SafeConsole
from tests.support.program import MAIN, smskd

SHELL = f"exec {sys.executable} -c '{MAIN}' "

INTERRUPTED = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "rich.table":
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as error:
                if WRAPPED:
                    raise ImportError("initialisation failed")
                raise
sys.meta_path.insert(0, Interrupting())
sys.argv = ["smskd", "strategies"]
from smskd.cli import main
main()
"""


def shell(words: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(["sh", "-c", SHELL + words], capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_closed_streams() -> None:
    assert shell("recipe <&- >&- 2>&-") == (0, b"", b"")


def test_a_mistake_with_closed_output() -> None:
    code, _, line = shell("train nosuch.yaml <&- >&-")
    assert (code, line.count(b"\n")) == (2, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk() -> None:
    assert shell("recipe >/dev/full") == (
        2,
        b"",
        b"smskd: standard output cannot be written: No space left on device\n",
    )


def test_an_encoding_with_few_characters() -> None:
    done = subprocess.run(
        ["sh", "-c", f"PYTHONIOENCODING=ascii {SHELL.removeprefix('exec ')} methods cc"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


@pytest.mark.parametrize("wrapped", [False, True])
def test_ctrl_c_during_imports(wrapped: bool) -> None:
    program = INTERRUPTED.replace("WRAPPED", str(wrapped))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"smskd: stopped\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "smskd: memory does not suffice\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "can't allocate"),
        (RecursionError("maximum recursion depth exceeded"), "smskd: something is nested too deeply\n"),
        (OSError(5, "Input/output error"), "smskd: Input/output error\n"),
        (OSError(5, "Input/output error", "a\x1bb"), "smskd: a\\x1bb: Input/output error\n"),
    ],
)
def test_errors_of_the_machine(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise error

    monkeypatch.setattr(show_recipes, "print_recipes", failing)
    outcome = smskd("recipe")
    assert (outcome.code, outcome.out) == (2, "")
    assert line in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(show_recipes, "print_recipes", failing)
    with pytest.raises(ZeroDivisionError):
        smskd("recipe")


def test_texts_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    SafeConsole(force_terminal=True, width=60).print("a\x1b[31mb\u202ec", markup=False, highlight=False)
    assert capsys.readouterr().out == "a\\x1b[31mb\\u202ec\n"
