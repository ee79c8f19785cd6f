"""The end of the program: a line on stderr and an exit code."""

import sys
from typing import NoReturn

import typer

MISTAKE, INTERRUPTED = 2, 130
"""Exit codes of a user's mistake and of Ctrl-C."""


def end(message: str, code: int) -> NoReturn:
    """Prints a message on stderr, in one line, and ends the program with an exit code."""
    typer.echo(f"smskd: {' '.join(line.strip() for line in message.splitlines())}", err=True)
    sys.exit(code)
