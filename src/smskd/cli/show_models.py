"""`smskd models`."""

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich.table import Table

from smskd.analysis.format import count
from smskd.cli.printing import console, print_footnote, print_pairs, print_title
from smskd.models import create, describe, macs, names, parameters
from smskd.models.zoo.catalog import CATALOG

_SHAPE = (3, 32, 32)


def print_models(*, as_json: bool) -> None:
    """Prints a table with one line per model."""
    facts = [_model_facts(name) for name in names()]
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table("model", "params", "MACs", "description", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in (1, 2):
        table.columns[column].justify = "right"
    for fact in facts:
        table.add_row(fact["name"], count(fact["parameters"]), count(fact["macs"]), fact["description"])
    console.print(table, highlight=False)
    print_footnote("MACs: multiply-accumulates for an image of 3 x 32 x 32; with 100 classes")
    print_footnote("One in full: smskd models NAME    Your own in a recipe: package.module:factory")


def print_model(name: str, *, as_json: bool) -> None:
    """Prints one model in full.

    Raises:
        UserError: there is no such model.
    """
    fact = _model_facts(name)
    if as_json:
        typer.echo(json.dumps(fact, indent=2))
        return
    print_title(f"{name}: {fact['description']}" if fact["description"] else name)
    print_pairs(
        ("parameters", f"{fact['parameters']:,} with {fact['classes']} classes"),
        ("MACs", f"{fact['macs']:,} for an image of {_sizes(fact['image_shape'])}"),
    )
    print_title("\nfeatures of that image")
    print_pairs(*((feature, _sizes(shape)) for feature, shape in fact["features"].items()))


def _model_facts(name: str) -> dict[str, Any]:
    model = create(name)
    layout = describe(model, _SHAPE)
    return {
        "name": name,
        "description": CATALOG[name].description if name in CATALOG else "",
        "classes": layout.classes,
        "image_shape": list(_SHAPE),
        "parameters": parameters(model.wrapped),
        "macs": macs(model.wrapped, _SHAPE),
        "features": {feature: list(size) for feature, size in layout.features.items()},
    }


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
