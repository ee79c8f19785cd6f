"""The commands. Nothing here imports torch before a command needs it: help and completion answer at once."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from smskd.errors import UserError

app = typer.Typer(
    name="smskd",
    help="Sequential multi-stage knowledge distillation: train a small student from a large teacher, in stages, "
    "without forgetting.\n\nBegin with [bold]smskd demo[/bold].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _recipes(incomplete: str) -> list[str]:
    from smskd.recipe.shipped import names

    return [name for name in names() if name.startswith(incomplete)]


def _methods(incomplete: str) -> list[str]:
    from smskd.methods.discovery import names

    return [name for name in names() if name.startswith(incomplete)]


def _models(incomplete: str) -> list[str]:
    from smskd.models.listing import names

    return [name for name in names() if name.startswith(incomplete)]


RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's YAML file.", autocompletion=_recipes)]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to the recipe.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or folders with runs in them.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


@app.command(epilog="Example: smskd train recipes/digits/fitnet-kd.yaml epochs=10 --seeds 0,1,2 --out runs/digits")
def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    seeds: Annotated[str | None, typer.Option(help="A run for each, in OUT/seed<seed>.", metavar="0,1,2")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.  [default: runs/<name>]")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe."""
    from smskd.cli.train import train_recipe

    train_recipe(recipe, overrides or [], _seeds(seeds), out, quiet=quiet, as_json=as_json)


@app.command(epilog="Example: smskd resume runs/digits")
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a folder with runs in it.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped, as if it had never been."""
    from smskd.cli.train import resume_runs

    resume_runs(run, quiet=quiet, as_json=as_json)


@app.command("eval", epilog="Example: smskd eval runs/digits/seed0 runs/digits/seed0/stages/1/student.safetensors")
def evaluate(
    things: Annotated[list[Path], typer.Argument(metavar="RUN|WEIGHTS...", help="Runs, or files of weights.")],
    recipe: Annotated[
        str | None,
        typer.Option(help="Take data and student from this recipe (for weights that are in no run's folder)."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Changes to the recipe.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test students on their test pictures."""
    from smskd.cli.evaluate import evaluate_all

    evaluate_all(things, recipe, overrides or [], as_json=as_json)


@app.command(epilog="Example: smskd compare runs/digits --markdown")
def compare(
    runs: Runs,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: mean and standard deviation over their seeds."""
    from smskd.cli.show import print_comparison

    print_comparison(runs, "csv" if csv else "markdown" if markdown else "json" if as_json else "table")


@app.command(epilog="Example: smskd report runs/digits --out digits.html")
def report(
    runs: Runs,
    out: Annotated[
        Path | None,
        typer.Option(help="The page.  [default: report.html in the first folder]"),
    ] = None,
) -> None:
    """Write a page with tables and charts; it opens without a network."""
    from smskd.cli.show import write_page

    write_page(runs, out)


@app.command(epilog="Example: smskd methods rkd")
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, in full.", autocompletion=_methods)] = None,
    as_json: AsJson = False,
) -> None:
    """Show the distillation methods: formula, paper, hyper-parameters."""
    from smskd.cli.show import print_method, print_methods

    if name is None:
        print_methods(as_json=as_json)
    else:
        print_method(name, as_json=as_json)


@app.command(epilog="Example: smskd models resnet20")
def models(
    name: Annotated[str | None, typer.Argument(help="One model, in full.", autocompletion=_models)] = None,
    as_json: AsJson = False,
) -> None:
    """Show the models: parameters, multiply-accumulates, features."""
    from smskd.cli.show import print_model, print_models

    if name is None:
        print_models(as_json=as_json)
    else:
        print_model(name, as_json=as_json)


@app.command("recipe", epilog="Example: smskd recipe recipes/digits/fitnet-kd.yaml anchor.weight=0.3")
def show_recipe(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Print a recipe as it is resolved, every default filled in."""
    from smskd.recipe import read, to_yaml
    from smskd.strategies.plan import resolved

    typer.echo(to_yaml(resolved(read(recipe, overrides or []))), nl=False)


@app.command(epilog="Example: smskd demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/demo"),
    seeds: Annotated[str, typer.Option(help="Seeds of the students.", metavar="0,1,2")] = "0,1,2",
    epochs: Annotated[int | None, typer.Option(help="Epochs of the students, instead of the recipe's.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train a teacher and six students on handwritten digits, and compare them. Takes some minutes."""
    from smskd.cli.demo import run_demo

    run_demo(out, _seeds(seeds) or [0], epochs, quiet=quiet)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(metadata.version("smskd"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise UserError(f"--seeds: '{text}' is not a list of different whole numbers such as 0,1,2")
    return [int(part) for part in parts]


def main() -> None:
    """The program: a user's mistake is told in one line, with exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"smskd: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)
