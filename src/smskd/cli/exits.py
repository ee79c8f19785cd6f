"""The end of the program: a line on stderr and an exit code."""

import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from smskd.errors import printable

MISTAKE, INTERRUPTED = 2, 130
"""Exit codes of a user's mistake and of Ctrl-C."""

LONGEST = 4000
"""Characters of a message."""


def end(message: str, code: int) -> NoReturn:
    """Prints a message on stderr, in one line, and ends the program with an exit code."""
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        # PyTorch's handler would raise once more for each further loader worker that has died.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    say(message)
    sys.exit(code)


def say(message: str) -> None:
    """Prints a message on stderr, in one line without control characters, unless nothing can be printed there."""
    line = printable(" ".join(line.strip() for line in message.splitlines()))
    with suppress(OSError, ValueError):
        print(f"smskd: {line if len(line) <= LONGEST else line[:LONGEST] + ' ...'}", file=sys.stderr, flush=True)
