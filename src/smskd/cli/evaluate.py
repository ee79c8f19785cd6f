"""`smskd eval`: the accuracy of trained students."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich.markup import escape
from rich.table import Table

from smskd import models
from smskd.analysis.format import percent
from smskd.builder.data import load_data
from smskd.builder.learned import facts_of_data, fitted_teacher
from smskd.builder.loaders import test_loader
from smskd.builder.networks import load_model
from smskd.builder.run_folders import recipe_of, weight_files
from smskd.builder.saved import network_of
from smskd.cli.printing import SafeConsole
from smskd.cli.progress import Display
from smskd.config.data import DataConfig
from smskd.config.given import is_given
from smskd.data import Dataset, TextDataset
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models.weights import read_weights
from smskd.recipe import Recipe, read
from smskd.training.accuracy import evaluate
from smskd.training.globals import computing
from smskd.training.host import device_of


def evaluate_all(
    paths: list[Path], recipe: str | None, overrides: list[str], *, trust: bool = False, as_json: bool
) -> None:
    """Measures and prints the test accuracy of students.

    Args:
        paths: folders of runs, folders with runs below them, or files of weights.
        recipe: with data and student; None: that of the run's folder in which the weights are.
        overrides: changes to the recipe.
        trust: import the Python objects that recipes of folders, and files of weights, name.
        as_json: print JSON, and nothing else.

    Raises:
        UserError: no such run or file, weights without a recipe, weights that do not fit the student or the data, or
            names that are not trusted.
    """
    display = Display(SafeConsole(), quiet=as_json)
    loaded: tuple[DataConfig, Dataset | TextDataset] | None = None
    results = []
    with display.shown():
        for weights in (file for path in paths for file in weight_files(path)):
            wanted = read(recipe, overrides) if recipe else recipe_of(weights, overrides, trust=trust)
            if loaded is None or loaded[0] != wanted.data:
                loaded = wanted.data, load_data(wanted.data, display.reading)
            results.append(_result(weights, wanted, loaded[1], trust=trust))
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


def _result(weights: Path, recipe: Recipe, dataset: Dataset | TextDataset, *, trust: bool) -> dict[str, Any]:
    device = device_of(recipe.runtime.device)
    name, model = _student(weights, recipe, dataset, trust=trust)
    example = dataset.example(torch.device("cpu"))
    try:
        model = fitted_teacher(model, facts_of_data(dataset), example).to(device)
    except UserError as error:
        raise UserError(f"{weights}: {error}") from None
    loader = test_loader(dataset, recipe.training.test_batch_size, device)
    with computing(recipe.runtime):
        accuracy = evaluate(model, loader.epoch(0), classes=dataset.classes, compute=recipe.runtime)
    return {
        "weights": str(weights),
        "model": name,
        "top1": accuracy.top1,
        "top5": accuracy.top5,
        "images": len(dataset.test),
    }


def _student(weights: Path, recipe: Recipe, dataset: Dataset | TextDataset, *, trust: bool) -> tuple[str, FeatureModel]:
    """Name and network of weights: as their file says, if that is of the zoo or is trusted; else as the recipe does."""
    saved = read_weights(weights)
    known = saved.facts
    if known.model is not None and (trust or known.model in models.names()):
        module = network_of(saved, trust=trust)
        return known.model, models.adapt(module, dataset.example(torch.device("cpu")), known.features)
    if known.network is not None and is_given(recipe.student.name):
        raise UserError(
            f"{weights}: the weights are of a network of your own ({known.network}), which only your program can make; "
            "measure it there: smskd.load(..., model=network)"
        )
    if known.model is not None and known.model != recipe.student.name:
        raise UserError(
            f"{weights}: the weights are of '{known.model}', which is not of the zoo; give a recipe with this student "
            "(--recipe), or say that the file is trusted (--trust)"
        )
    config = replace(recipe.student, weights=str(weights))
    return config.name, load_model(config, dataset, "student")
