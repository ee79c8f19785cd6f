"""How the program ends: a line on stderr and an exit code."""

import sys
from typing import NoReturn

import typer

MISTAKE, INTERRUPTED = 2, 130


def end(message: str, code: int) -> NoReturn:
    """Says why, in one line, and ends the program."""
    typer.echo(f"smskd: {' '.join(line.strip() for line in message.splitlines())}", err=True)
    sys.exit(code)
