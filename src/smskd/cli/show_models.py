"""`smskd models`."""

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from smskd.analysis.format import count
from smskd.cli.catalog import entry
from smskd.cli.printing import console, print_footnote, print_pairs, print_title
from smskd.models.libraries.names import library_of
from smskd.models.zoo.names import names
from smskd.registry import MODELS

LIBRARY_SIZE = (224, 224)
"""Of the images that most networks of the libraries are made for."""


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
    print_footnote("Of libraries: timm/NAME, torchvision/NAME, transformers/FOLDER-or-ID")


def print_model(name: str, *, as_json: bool, image_size: tuple[int, int] | None = None) -> None:
    """Prints one model in full.

    Args:
        name: of the zoo, of a library, of an entry point, or ``package.module:factory``.
        as_json: as JSON.
        image_size: height and width of the images.

    Raises:
        UserError: there is no such model, or it does not take images of this size.
    """
    if image_size is None and library_of(name) is None:
        model = entry("models", name)
    else:
        from smskd.cli.model_facts import model_facts

        MODELS.check_name(name)
        model = model_facts(name, image_size or LIBRARY_SIZE)
    if as_json:
        typer.echo(json.dumps(model, indent=2))
        return
    print_title(f"{name}: {model['description']}" if model["description"] else name)
    print_pairs(
        ("parameters", f"{model['parameters']:,} with {model['classes']} classes"),
        ("MACs", f"{model['macs']:,} for {_sample(model)}"),
    )
    print_title(f"\nfeatures of that {'text' if model.get('tokens') else 'image'}")
    places = model.get("places", {})
    print_pairs(*((feature, _feature(shape, places.get(feature))) for feature, shape in model["features"].items()))
    if "roles" in model:
        print_title("\nwhat methods read of them")
        print_pairs(*((role.replace("_", " "), _listed(value)) for role, value in model["roles"].items()))


def _sample(model: dict[str, Any]) -> str:
    tokens = model.get("tokens")
    return f"a text of {tokens} tokens" if tokens else f"an image of {_sizes(model['image_shape'])}"


def _feature(shape: Sequence[int], place: dict[str, Any] | None) -> str:
    if place is None:
        return _sizes(shape)
    stride = f", stride {' x '.join(f'{step:g}' for step in place['stride'])}" if place["stride"] else ""
    module = f", read at {place['module']}" if place["module"] else ""
    return f"{_sizes(shape)} ({place['kind']}{stride}{module})"


def _listed(value: str | Sequence[str] | None) -> str:
    return value if isinstance(value, str) else ", ".join(value or ()) or "none"


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
