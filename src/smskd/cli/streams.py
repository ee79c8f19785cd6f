"""Standard input, output and error as they may be: closed, on a full disk, in an encoding with few characters."""

import io
import os
import sys
from contextlib import suppress


def prepare_streams() -> None:
    """Opens the null device in place of closed streams, and has unencodable characters escaped.

    Otherwise the next file that is opened, such as one of weights, would be taken for standard output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_null_device(number)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def output_problem() -> OSError | None:
    """The error with which writing on standard output ends, or None. After one, what is not written is dropped."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        return error
    return None


def _open_null_device(number: int) -> None:
    with suppress(OSError):
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _drop_output() -> None:
    """Python flushes standard output once more at its end, and would print that this fails."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
