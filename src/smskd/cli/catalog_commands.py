"""The commands that list and show methods, anchors, strategies, models, data sets and recipes, and write new terms."""

from pathlib import Path
from typing import Annotated

import typer

from smskd.cli import completion
from smskd.cli.arguments import AsJson, Overrides

Folder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help=r"Folder of both files.  \[default: here, or their places in a checkout of smskd]"
    ),
]


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One method in full.", autocompletion=completion.methods)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the distillation methods: formula, paper, hyper-parameters."""
    from smskd.cli.show_methods import print_method, print_methods

    if name is None:
        print_methods(as_json=as_json)
    else:
        print_method(name, as_json=as_json)


def anchors(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One anchor in full.", autocompletion=completion.anchors)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the anchors, which keep the student close to the reference: formula, paper, hyper-parameters."""
    from smskd.cli.show_anchors import print_anchor, print_anchors

    if name is None:
        print_anchors(as_json=as_json)
    else:
        print_anchor(name, as_json=as_json)


def strategies(as_json: AsJson = False) -> None:
    """List the strategies, which turn the methods of a recipe into stages."""
    from smskd.cli.show_strategies import print_strategies

    print_strategies(as_json=as_json)


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One model in full.", autocompletion=completion.models)
    ] = None,
    image_size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="HEIGHT WIDTH", help="Size of the images.  [default: 32 32; of libraries 224 224]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the models: parameters, multiply-accumulates, features."""
    from smskd.cli.show_models import print_model, print_models

    if name is None:
        print_models(as_json=as_json)
    else:
        print_model(name, as_json=as_json, image_size=image_size)


def data(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|FOLDER", help="A recipe, or a folder with images.", autocompletion=completion.recipes
        ),
    ],
    overrides: Overrides = None,
    all_classes: Annotated[bool, typer.Option("--classes", help="List every class.")] = False,
    as_json: AsJson = False,
) -> None:
    """Describe a data set: its parts, classes, sizes, duplicates, mean and standard deviation, memory."""
    from smskd.cli.data_settings import data_settings

    config = data_settings(wanted, overrides or [])
    from smskd.cli.show_data import print_data  # imports torch, which takes seconds: mistakes are found before

    print_data(config, all_classes=all_classes, as_json=as_json)


def store(
    folder: Annotated[Path, typer.Argument(metavar="STORE", help="The folder that runtime.store names.")],
    keep: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove the stages that were used least recently, until this size is left."),
    ] = None,
    unused: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0, help="Remove the stages that were not used for so long.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the stages in a store with their sizes, or remove some of them."""
    from smskd.config.sizes import in_bytes

    limit = None if keep is None else in_bytes(keep)
    from smskd.cli.show_store import print_store, prune_store

    if limit is None and unused is None:
        print_store(folder, as_json=as_json)
    else:
        prune_store(folder, limit, unused, as_json=as_json)


def recipe(
    name: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="One recipe, resolved.", autocompletion=completion.recipes),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """List the recipes of the package, or print one with all defaults filled in."""
    from smskd.cli.show_recipes import print_recipe, print_recipes

    if name is None:
        print_recipes()
    else:
        print_recipe(name, overrides or [])


def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the file, without .py: own_method")],
    folder: Folder = None,
) -> None:
    """Write the file of a distillation method and its test: a working example to be edited."""
    from smskd.cli.new_method import write_new_method

    written = write_new_method(name, folder)
    typer.echo(f"{written.method}\n{written.test}\nits name in a recipe: {written.recipe_name}")


def new_anchor(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the file, without .py: own_anchor")],
    folder: Folder = None,
) -> None:
    """Write the file of an anchor and its test: a working example to be edited."""
    from smskd.cli.new_anchor import write_new_anchor

    written = write_new_anchor(name, folder)
    typer.echo(f"{written.anchor}\n{written.test}\nits name in a recipe: {written.recipe_name}")


def register(app: typer.Typer) -> None:
    """Adds the commands to the program."""
    for function, name, example in (
        (methods, "methods", "methods rkd"),
        (anchors, "anchors", "anchors reference_kl"),
        (strategies, "strategies", "strategies"),
        (models, "models", "models resnet20"),
        (data, "data", "data digits/kd.yaml"),
        (store, "store", "store runs/sweep/store --keep 10GB"),
        (recipe, "recipe", "recipe digits/fitnet-kd.yaml anchor.weight=0.3"),
        (new_method, "new-method", "new-method own_method"),
        (new_anchor, "new-anchor", "new-anchor own_anchor"),
    ):
        app.command(name, epilog=f"Example: smskd {example}")(function)
