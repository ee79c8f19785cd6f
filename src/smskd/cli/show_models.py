"""`smskd models`."""

import json
from collections.abc import Sequence

import typer
from rich.markup import escape
from rich.table import Table

from smskd.analysis.format import count
from smskd.cli.catalog import entry
from smskd.cli.printing import console, print_footnote, print_pairs, print_title
from smskd.models.zoo.names import names


def print_models(*, as_json: bool) -> None:
    """Prints a table with one line per model."""
    models = [entry("models", name) for name in names()]
    if as_json:
        typer.echo(json.dumps(models, indent=2))
        return
    table = Table("model", "params", "MACs", "description", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in (1, 2):
        table.columns[column].justify = "right"
    for model in models:
        cells = (model["name"], count(model["parameters"]), count(model["macs"]), model["description"])
        table.add_row(*map(escape, cells))
    console.print(table, highlight=False)
    print_footnote("MACs: multiply-accumulates for an image of 3 x 32 x 32; with 100 classes")
    print_footnote("One in full: smskd models NAME    Your own in a recipe: package.module:factory")


def print_model(name: str, *, as_json: bool) -> None:
    """Prints one model in full.

    Raises:
        UserError: there is no such model.
    """
    model = entry("models", name)
    if as_json:
        typer.echo(json.dumps(model, indent=2))
        return
    print_title(f"{name}: {model['description']}" if model["description"] else name)
    print_pairs(
        ("parameters", f"{model['parameters']:,} with {model['classes']} classes"),
        ("MACs", f"{model['macs']:,} for an image of {_sizes(model['image_shape'])}"),
    )
    print_title("\nfeatures of that image")
    print_pairs(*((feature, _sizes(shape)) for feature, shape in model["features"].items()))


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
