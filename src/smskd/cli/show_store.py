"""`smskd store`."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from smskd.analysis.format import duration
from smskd.cli.printing import console, print_footnote
from smskd.config.sizes import in_words
from smskd.stage_store.pruning import Entry, listed, prune

_SHOWN = 12
"""Characters of a digest."""


def print_store(folder: Path, *, as_json: bool) -> None:
    """Prints a table with one line per stage, the last used first.

    Raises:
        UserError: there is no such folder.
    """
    entries = listed(folder)
    if as_json:
        typer.echo(json.dumps([_facts(entry) for entry in entries], indent=2))
        return
    table = Table("stages", "seed", "epochs", "trained in", "size", "used", "digest", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(*map(escape, _cells(entry)))
    if entries:
        console.print(table, highlight=False)
    print_footnote(f"{_count(entries)}, {in_words(sum(entry.bytes for entry in entries))} in {folder}")


def prune_store(folder: Path, limit: int | None, unused_days: float | None, *, as_json: bool) -> None:
    """Removes stages, and says which.

    Args:
        folder: of the store.
        limit: bytes that may be left; None: any number.
        unused_days: stages that were not used for longer are removed; None: none.
        as_json: print the facts of what was removed as JSON.

    Raises:
        UserError: there is no such folder, or a stage cannot be removed.
    """
    removed = prune(folder, limit=limit, unused_days=unused_days)
    if as_json:
        typer.echo(json.dumps([_facts(entry) for entry in removed], indent=2))
        return
    left = listed(folder)
    sizes = [in_words(sum(entry.bytes for entry in entries)) for entries in (removed, left)]
    typer.echo(f"{_count(removed)} removed, {sizes[0]}; {_count(left)} left, {sizes[1]}")


def _cells(entry: Entry) -> list[str]:
    if entry.values is None:
        return ["damaged", "", "", "", in_words(entry.bytes), _ago(entry), entry.digest[:_SHOWN]]
    return [
        " → ".join(entry.methods),
        str(entry.seed),
        str(entry.epochs),
        duration(entry.seconds),
        in_words(entry.bytes),
        _ago(entry),
        entry.digest[:_SHOWN],
    ]


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "digest": entry.digest,
        "parent": entry.parent,
        "damaged": entry.values is None,
        "methods": list(entry.methods),
        "seed": entry.seed,
        "epochs": entry.epochs,
        "seconds": entry.seconds,
        "bytes": entry.bytes,
        "used": entry.used,
    }


def _ago(entry: Entry) -> str:
    return f"{duration(max(0.0, time.time() - entry.used))} ago"


def _count(entries: Sequence[Entry]) -> str:
    return f"{len(entries)} {'stage' if len(entries) == 1 else 'stages'}"
