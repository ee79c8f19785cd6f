"""The program and its commands on runs. No command imports torch before it is called."""

from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from smskd.cli import bench_commands, catalog_commands, completion
from smskd.cli.arguments import (
    AsJson,
    AtMost,
    Baseline,
    Overrides,
    ProcessCount,
    PublishedFile,
    Quiet,
    RecipeArgument,
    Runs,
    Together,
    Trust,
    named_folder,
    parse_seeds,
)
from smskd.cli.export_command import export, predict
from smskd.cli.sweep_command import sweep
from smskd.errors import UserError
from smskd.sweeps.beside import beside_each_other

MINIMUM_EPOCHS = 2
"""Of the demo, whose students have up to two stages."""

app = typer.Typer(
    name="smskd",
    help="Sequential multi-stage knowledge distillation: train a small student from a large teacher, in stages, "
    "without forgetting.\n\nBegin with [bold]smskd demo[/bold].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
    epilog="Example: smskd train digits/teacher.yaml\n\n"
    "then: smskd train digits/kd.yaml teacher.weights=runs/teacher --seeds 0,1,2"
)
def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    seeds: Annotated[str | None, typer.Option(help="One run per seed, in OUT/seed<seed>.", metavar="0,1,2")] = None,
    together: Together = False,
    at_most: AtMost = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=named_folder, metavar="PATH", help=r"Folder of the run.  \[default: runs/<name>]"),
    ] = None,
    processes: ProcessCount = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe; the run's folder gets weights, metrics and an HTML page."""
    from smskd.cli.jobs import check_count, start_together
    from smskd.recipe import read

    check_count(processes)
    given = [] if processes is None else [f"runtime.processes={processes}"]
    wanted = read(recipe, [*(overrides or []), *given])
    several = None if seeds is None else parse_seeds(seeds)
    beside = beside_each_other(together=together, at_most=at_most)
    if beside is not None and several is None:
        raise UserError("--together needs --seeds with several seeds")
    start_together(wanted.runtime.processes, beside=beside is not None)
    from smskd.cli.train import train_recipe  # imports torch, which takes seconds: mistakes are found before

    train_recipe(wanted, several, out, quiet=quiet, as_json=as_json, beside=beside)


@app.command(epilog="Example: smskd resume runs/digits")
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or a folder with runs below it.")],
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Resume although recipe.yaml was changed in keys that affect the result by rounding at most "
            "(runtime.device, runtime.compile, runtime.checkpoint_every, training.test_batch_size), or in more epochs.",
        ),
    ] = False,
    together: Together = False,
    at_most: AtMost = None,
    processes: ProcessCount = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Resume unfinished runs from their last checkpoints, with the same result as without the interruption."""
    from smskd.cli.jobs import check_count, processes_of, start_together

    beside = beside_each_other(together=together, at_most=at_most)
    check_count(processes)
    start_together(processes or processes_of(run), beside=beside is not None)
    from smskd.cli.train import resume_runs

    resume_runs(run, force=force, trust=trust, quiet=quiet, as_json=as_json, beside=beside)


@app.command("eval", epilog="Example: smskd eval runs/digits runs/digits/seed0/stages/1/student.safetensors")
def evaluate(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN|WEIGHTS", help="Folders of runs, or files of weights.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="The recipe with data and student, for weights outside of a run's folder.",
            autocompletion=completion.recipes,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Changes to the recipe.")
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Measure the accuracy of trained students on the test images."""
    from smskd.cli.evaluate import evaluate_all

    evaluate_all(paths, recipe, overrides or [], trust=trust, as_json=as_json)


@app.command(epilog="Example: smskd compare runs/digits --baseline plain --markdown")
def compare(
    runs: Runs,
    baseline: Baseline = None,
    published: PublishedFile = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the page of the comparison as well, as smskd report does."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs: mean and standard deviation over their seeds."""
    from smskd.cli.comparison import print_comparison, wanted_form

    form = wanted_form(csv=csv, markdown=markdown, latex=latex, json=as_json)
    print_comparison(runs, form, baseline=baseline, published=published, html=html)


@app.command(epilog="Example: smskd analyse runs/digits/seed0")
def analyse(
    runs: Runs,
    train_images: Annotated[
        int, typer.Option(min=1, help="Training images that are predicted at most, of each class its share.")
    ] = 5_000,
    gradient_batches: Annotated[
        int, typer.Option(min=0, help="Batches on which the gradients of the parts of the loss are compared.")
    ] = 8,
    trust: Trust = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a line for each number.")] = False,
    as_json: AsJson = False,
) -> None:
    """Analyse the stages of runs: forgetting, calibration, teacher, features, conflict of gradients, capacity, cost."""
    if csv and as_json:
        raise UserError("give one of --csv, --json")
    from smskd.cli.analyse import analyse_runs

    form: Literal["table", "csv", "json"] = "csv" if csv else "json" if as_json else "table"
    analyse_runs(runs, form, train_images=train_images, gradient_batches=gradient_batches, trust=trust)


@app.command(epilog="Example: smskd report runs/digits --baseline plain --out digits.html")
def report(
    runs: Runs,
    out: Annotated[
        Path | None,
        typer.Option(help=r"The HTML file.  \[default: report.html in the first folder]"),
    ] = None,
    baseline: Baseline = None,
    published: PublishedFile = None,
    analysis: Annotated[
        bool, typer.Option("--analysis", help="Analyse the runs, which takes forward passes, and show the results.")
    ] = False,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the charts as figures for print; a page only with --out."),
    ] = None,
    form: Annotated[
        Literal["svg", "pdf", "png"] | None, typer.Option("--format", help=r"Of the figures.  \[default: pdf]")
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(min=5.0, max=40.0, metavar="CM", help=r"Of the figures, in centimetres.  \[default: 8.5]"),
    ] = None,
    trust: Trust = False,
) -> None:
    """Write an HTML page with tables and charts, a single file that needs no network, or figures for a paper."""
    from smskd.cli.pages import Wanted, write_pages

    write_pages(runs, Wanted(out, baseline, published, figures, form, width, analysis, trust))


@app.command(epilog="Example: smskd demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(parser=named_folder, metavar="PATH", help="Folder for the runs.")] = Path(
        "runs/demo"
    ),
    seeds: Annotated[str, typer.Option(help="Seeds of the students.", metavar="0,1,2")] = "0,1,2,3,4,5,6,7",
    epochs: Annotated[
        int | None, typer.Option(min=MINIMUM_EPOCHS, help="Epochs of the students, instead of the recipes'.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a teacher and six students on handwritten digits, and compare them. Takes some minutes."""
    from smskd.cli.demo import run_demo

    run_demo(out, parse_seeds(seeds), epochs, quiet=quiet)


app.command("sweep", epilog="Example: smskd sweep digits/orders teacher.weights=runs/teacher --workers 2")(sweep)
app.command(epilog="Example: smskd export runs/digits/seed0 --safetensors digits --onnx digits.onnx --card")(export)
app.command(epilog="Example: smskd predict runs/digits/seed0 photos/*.png --top 3")(predict)
catalog_commands.register(app)
app.add_typer(bench_commands.bench)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(metadata.version("smskd"))
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    from smskd.cli.jobs import check_joint

    check_joint(context.invoked_subcommand)
