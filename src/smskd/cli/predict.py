"""What `smskd predict` prints."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Table

from smskd.cli.exits import MISTAKE, say
from smskd.cli.printing import SafeConsole
from smskd.deployment.prediction import Prediction, Unreadable, predictions
from smskd.deployment.student import open_student


def print_predictions(run: Path, inputs: Sequence[str], *, top: int, device: str, trust: bool, as_json: bool) -> None:
    """Predicts and prints a table, with one line for each image and class.

    An image that cannot be read is told of in a line on stderr; the others are predicted, and the exit code is that of
    a mistake.

    Args:
        run, inputs, top, device, trust: see :func:`smskd.predict`.
        as_json: print JSON, and nothing else.

    Raises:
        UserError: see :func:`smskd.predict`.
    """
    found = list(predictions(open_student(run, trust=trust), inputs, top=top, device=device))
    good = [each for each in found if isinstance(each, Prediction)]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in good], indent=2))
    elif good:
        SafeConsole().print(_table(good), highlight=False)
    bad = [each for each in found if isinstance(each, Unreadable)]
    for each in bad:
        say(each.reason)
    if bad:
        sys.exit(MISTAKE)


def _table(found: Sequence[Prediction]) -> Table:
    table = Table("", "class", "probability", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    table.columns[2].justify = "right"
    for each in found:
        for place, likely in enumerate(each.classes):
            source = escape(each.source) if place == 0 else ""
            table.add_row(source, escape(likely.name), f"{100 * likely.probability:.2f} %")
    return table
