"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from smskd.cli import completion
from smskd.config.messages import shortened
from smskd.errors import UserError

SEEDS = 2**31
"""Seeds are less than this."""

RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A YAML file, or the name of a recipe of the package (smskd recipe lists them).",
        autocompletion=completion.recipes,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY.PATH=VALUE", help="Changes to the recipe: training.epochs=10 stages.1.anchor.weight=0"),
]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs, or folders with runs below them.")]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="RECIPE",
        help="Add the differences to this recipe, paired by seed, with an interval and a test.",
    ),
]
PublishedFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Add published accuracies from a CSV file: dataset,teacher,student,method,top1,kind,protocol.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Import the Python objects that the files in the folder name, which may run any code."
    ),
]
Together = Annotated[
    bool,
    typer.Option(
        "--together", help="Train as many runs beside each other as the memory holds, in one process; for GPUs."
    ),
]
AtMost = Annotated[
    int | None, typer.Option("--at-most", min=1, metavar="N", help="With --together, N runs beside each other.")
]
ProcessCount = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes that train each run together, one for each GPU; short for runtime.processes=N.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


def named_folder(text: str) -> Path:
    """The path of a folder that is given.

    Raises:
        typer.BadParameter: it is empty.
    """
    if not str(text):
        raise typer.BadParameter("it is empty; give the path of a folder")
    return Path(text)


def parse_seeds(text: str) -> list[int]:
    """The seeds in a comma-separated list.

    Raises:
        UserError: it is not a list of distinct integers from 0 to 2^31 - 1.
    """
    parts = [part.strip() for part in text.split(",")]
    seeds = [int(part) for part in parts if part.isdecimal() and len(part) <= len(str(SEEDS))]
    if len(seeds) < len(parts) or len(set(seeds)) < len(parts) or max(seeds) >= SEEDS:
        raise UserError(f"--seeds: '{shortened(text)}' is not a list of distinct integers such as 0,1,2")
    return seeds
