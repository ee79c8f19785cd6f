"""`smskd eval`: the accuracy of trained students."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smskd import models
from smskd.analysis.format import percent
from smskd.builder.data import load_data
from smskd.builder.loaders import test_loader
from smskd.builder.networks import load_model
from smskd.cli.progress import Display
from smskd.config.data import DataConfig
from smskd.data import Dataset
from smskd.errors import UserError
from smskd.recipe import Recipe, read
from smskd.runs.folder import RECIPE, STUDENT
from smskd.training.accuracy import evaluate
from smskd.training.globals import computing
from smskd.training.host import device_of


def evaluate_all(paths: list[Path], recipe: str | None, overrides: list[str], *, as_json: bool) -> None:
    """Measures and prints the test accuracy of students.

    Args:
        paths: folders of runs, folders with runs below them, or files of weights.
        recipe: with data and student; None: that of the run's folder in which the weights are.
        overrides: changes to the recipe.
        as_json: print JSON, and nothing else.

    Raises:
        UserError: no such run or file, weights without a recipe, or weights that do not fit the student.
    """
    display = Display(Console(), quiet=as_json)
    loaded: tuple[DataConfig, Dataset] | None = None
    results = []
    with display.shown():
        for weights in (file for path in paths for file in _weights(path)):
            wanted = read(recipe, overrides) if recipe else read(_recipe_of(weights), overrides)
            if loaded is None or loaded[0] != wanted.data:
                loaded = wanted.data, load_data(wanted.data, display.reading)
            results.append(_result(weights, wanted, loaded[1]))
    if as_json:
        typer.echo(json.dumps(results, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("weights", overflow="fold")
    table.add_column("model")
    for number in ("top-1 %", "top-5 %", "images"):
        table.add_column(number, justify="right")
    for row in results:
        numbers = (percent(row["top1"]), percent(row["top5"]), str(row["images"]))
        table.add_row(escape(row["weights"]), escape(row["model"]), *numbers)
    display.console.print(table, highlight=False)


def _result(weights: Path, recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    device = device_of(recipe.runtime.device)
    facts = models.read_metadata(weights) if weights.suffix == ".safetensors" else {}
    changes: dict[str, Any] = {"weights": str(weights)}
    if "model" in facts:
        changes |= {"name": facts["model"], "options": json.loads(facts.get("options", "{}"))}
    config = replace(recipe.student, **changes)
    model = load_model(config, dataset, "student").to(device)
    loader = test_loader(dataset, recipe.training.test_batch_size, device)
    with computing(recipe.runtime):
        accuracy = evaluate(model, loader.epoch(0), classes=dataset.classes, compute=recipe.runtime)
    return {
        "weights": str(weights),
        "model": config.name,
        "top1": accuracy.top1,
        "top5": accuracy.top5,
        "images": len(dataset.test),
    }


def _weights(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such run or file")
    if (path / STUDENT).is_file():
        return [path / STUDENT]
    files = [file.parent / STUDENT for file in sorted(path.rglob(RECIPE)) if (file.parent / STUDENT).is_file()]
    if not files:
        raise UserError(f"{path} contains no finished run (no {STUDENT} in it)")
    return files


def _recipe_of(weights: Path) -> Path:
    for folder in weights.resolve().parents:
        if (folder / RECIPE).is_file():
            return folder / RECIPE
    raise UserError(
        f"{weights} is not in the folder of a run; give the recipe with its data and student: --recipe RECIPE"
    )
