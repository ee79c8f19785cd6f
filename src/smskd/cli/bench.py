"""`smskd bench`: prints measurements of the speed of training."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from smskd.analysis.format import NONE, count, duration, memory, part_name
from smskd.cli.printing import SafeConsole
from smskd.errors import UserError
from smskd.runs import atomic_files as files

STDOUT = Path("-")


def print_step(options: Mapping[str, Any], target: Path | None) -> None:
    """Times training steps and prints the result.

    Args:
        options: fields of :class:`smskd.bench.case.Case`.
        target: JSON file for the result, or ``-`` for JSON on stdout; None: a table is printed.

    Raises:
        UserError: an option is out of range, or the file cannot be written.
    """
    _check(target)
    from smskd.bench.case import Case
    from smskd.bench.step import bench_step

    case = Case(**options)
    with _waiting(f"timing {case.steps} steps"):
        result = bench_step(case)
    if _written(result, target):
        return
    console = SafeConsole()
    baseline = result["baseline"]
    table = Table("", "smskd", *(["baseline loop"] if baseline else []), box=None, pad_edge=False)
    columns = [result, *([baseline] if baseline else [])]
    for column in table.columns[1:]:
        column.justify = "right"
    for part in result["milliseconds"]:
        values = [column["milliseconds"].get(part) for column in columns]
        if any(values):
            table.add_row(part_name(part), *(NONE if value is None else f"{value:.2f} ms" for value in values))
    table.add_row("step", *(f"{column['step_milliseconds']:.2f} ms" for column in columns), style="bold")
    table.add_row("images per second", *(count(column["images_per_second"]) for column in columns))
    table.add_row("peak memory", *(memory(column["peak_memory_bytes"]) for column in columns))
    console.print(table, highlight=False)
    if baseline:
        console.print(f"\n{result['ratio']:.2f} times as fast as the baseline loop", style="bold", highlight=False)
    else:
        console.print(f"\nthe baseline loop does not implement {case.method}", style="dim", highlight=False)


def print_data(options: Mapping[str, Any], target: Path | None) -> None:
    """Times the reading of pictures and prints the result.

    Args:
        options: fields of :class:`smskd.bench.data.DataCase`.
        target: as in :func:`print_step`.

    Raises:
        UserError: the pictures cannot be read, or the file cannot be written.
    """
    _check(target)
    from smskd.bench.data import DataCase, bench_data

    case = DataCase(**options)
    with _waiting(f"reading pictures, {case.turns} times each"):
        result = bench_data(case)
    if _written(result, target):
        return
    console = SafeConsole()
    console.print(f"{result['images_per_second']:.0f} images a second", highlight=False)
    console.print(f"{result['baseline']:.0f} with ImageFolder, Pillow and DataLoader of torchvision", highlight=False)
    console.print(f"\n{result['ratio']:.2f} times as fast as the usual loop", style="bold", highlight=False)


def print_run(recipe: str | None, overrides: Sequence[str], target: Path | None) -> None:
    """Trains a recipe and prints the duration of its parts.

    Args:
        recipe: name or file; None: the default one.
        overrides: changes to it.
        target: JSON file for the result, or ``-`` for JSON on stdout; None: a table is printed.

    Raises:
        UserError: the recipe cannot be trained, or the file cannot be written.
    """
    _check(target)
    import torch

    from smskd.bench.run import bench_run
    from smskd.training.host import keep_freed_memory

    keep_freed_memory(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder, _waiting("training"):
        result = bench_run(recipe, overrides, Path(folder))
    if _written(result, target):
        return
    console = SafeConsole()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    whole, teacher = result["seconds"], result["teacher_seconds"]
    table.add_row("recipe", f"{result['recipe']}, {result['epochs']} epochs")
    table.add_row("total", duration(whole) + (f", of which {duration(teacher)} for the teacher" if teacher else ""))
    table.add_row("images per second", count(result["images_per_second"]))
    for part, share in result["share"].items():
        if share:
            table.add_row(part_name(part), f"{share:.1f} %")
    console.print(table, highlight=False)


def _check(target: Path | None) -> None:
    """Raises a UserError if the file cannot be written, before anything is measured."""
    if target is not None and target != STDOUT:
        if target.is_dir():
            raise UserError(f"--json: {target} is a folder; give the name of a file, or - for stdout")
        if not target.absolute().parent.is_dir():
            raise UserError(f"--json: {target.absolute().parent} is not a folder")


def _written(result: Mapping[str, Any], target: Path | None) -> bool:
    """Writes the result as JSON where that was requested; true if it went to stdout, or may have."""
    if target == STDOUT:
        typer.echo(json.dumps(result, indent=2))
        return True
    if target is not None:
        files.write_output(target, json.dumps(result, indent=2, allow_nan=False) + "\n")
        return files.is_stream(target)
    return False


def _waiting(text: str) -> Any:
    """A spinner with a text, on a terminal."""
    return SafeConsole(stderr=True).status(text)
