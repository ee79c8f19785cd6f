"""`smskd recipe`."""

from collections.abc import Sequence

import typer

from smskd.recipe import shipped


def print_recipes() -> None:
    """Prints the names of the recipes of the package."""
    for name in shipped.names():
        typer.echo(name)


def print_recipe(path: str, overrides: Sequence[str]) -> None:
    """Prints a resolved recipe: every default filled in.

    Raises:
        UserError: a mistake in the recipe or in an override.
    """
    from smskd.recipe import read, to_yaml
    from smskd.strategies.resolve import resolve

    typer.echo(to_yaml(resolve(read(path, overrides)).as_mapping()), nl=False)
