"""The commands. Nothing here imports torch before a command needs it: help and completion answer at once."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, cast

import typer

from smskd.cli import completion
from smskd.cli.exits import INTERRUPTED, MISTAKE, end
from smskd.errors import UserError

UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""Of the click that typer brings along or, in older versions, imports."""

SEEDS = 2**31
"""Seeds are smaller."""

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


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A YAML file, or a recipe that comes with the package (smskd recipe lists them).",
        autocompletion=completion.recipes,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY.PATH=VALUE", help="Changes to the recipe: epochs=10 stages.1.anchor.weight=0"),
]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs, or folders with runs in them.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


@app.command(
    epilog="Example: smskd train digits/teacher.yaml\n\n"
    "then: smskd train digits/kd.yaml teacher.weights=runs/teacher --seeds 0,1,2"
)
def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    seeds: Annotated[str | None, typer.Option(help="A run for each, in OUT/seed<seed>.", metavar="0,1,2")] = None,
    out: Annotated[Path | None, typer.Option(help=r"The run's folder.  \[default: runs/<recipe's name>]")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe, into a folder with weights, metrics and a page."""
    from smskd.cli.train import train_recipe

    wanted = None if seeds is None else _seeds(seeds)
    train_recipe(recipe, overrides or [], wanted, out, quiet=quiet, as_json=as_json)


@app.command(epilog="Example: smskd resume runs/digits")
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a folder with runs in it.")],
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Go on also where recipe.yaml was changed harmlessly: more epochs, another device or checkpoint interval.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped; it ends as if it never had been."""
    from smskd.cli.train import resume_runs

    resume_runs(run, force=force, quiet=quiet, as_json=as_json)


@app.command("eval", epilog="Example: smskd eval runs/digits runs/digits/seed0/stages/1/student.safetensors")
def evaluate(
    things: Annotated[list[Path], typer.Argument(metavar="RUN|WEIGHTS", help="Folders of runs, or files of weights.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Take data and student from this recipe (for weights that are in no run's folder).",
            autocompletion=completion.recipes,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Changes to the recipe.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the accuracy of trained students on the test pictures."""
    from smskd.cli.evaluate import evaluate_all

    evaluate_all(things, recipe, overrides or [], as_json=as_json)


@app.command(epilog="Example: smskd compare runs/digits --markdown")
def compare(
    runs: Runs,
    csv: Annotated[bool, typer.Option("--csv", help="Print it as CSV.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print it as a Markdown table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Compare runs: mean and standard deviation over their seeds."""
    if csv + markdown + as_json > 1:
        raise UserError("give one of --csv, --markdown and --json")
    from smskd.cli.show import print_comparison

    print_comparison(runs, "csv" if csv else "markdown" if markdown else "json" if as_json else "table")


@app.command(epilog="Example: smskd report runs/digits --out digits.html")
def report(
    runs: Runs,
    out: Annotated[
        Path | None,
        typer.Option(help=r"The page's file.  \[default: report.html in the first folder]"),
    ] = None,
) -> None:
    """Write a page with tables and charts, which opens without a network."""
    from smskd.cli.show import write_page

    write_page(runs, out)


@app.command(epilog="Example: smskd methods rkd")
def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One method, in full.", autocompletion=completion.methods)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the distillation methods: formula, paper, hyper-parameters."""
    from smskd.cli.show import print_method, print_methods

    if name is None:
        print_methods(as_json=as_json)
    else:
        print_method(name, as_json=as_json)


@app.command("new-method", epilog="Example: smskd new-method own_method")
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the file, without .py: own_method")],
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help=r"Where both files go.  \[default: here, or their places in a checkout of smskd]"
        ),
    ] = None,
) -> None:
    """Write a distillation method and its test: a working example, to be edited."""
    from smskd.cli.new_method import write_new_method

    written = write_new_method(name, folder)
    typer.echo(f"{written.method}\n{written.test}\nits name in a recipe: {written.recipe_name}")


@app.command(epilog="Example: smskd models resnet20")
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One model, in full.", autocompletion=completion.models)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the models: parameters, multiply-accumulates, features."""
    from smskd.cli.show import print_model, print_models

    if name is None:
        print_models(as_json=as_json)
    else:
        print_model(name, as_json=as_json)


@app.command("recipe", epilog="Example: smskd recipe digits/fitnet-kd.yaml anchor.weight=0.3")
def show_recipe(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="One recipe, resolved.", autocompletion=completion.recipes),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """List the recipes that come with the package, or print one with every default filled in."""
    from smskd.cli.show import print_recipe, print_recipes

    if recipe is None:
        print_recipes()
    else:
        print_recipe(recipe, overrides or [])


@app.command(epilog="Example: smskd demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/demo"),
    seeds: Annotated[str, typer.Option(help="Seeds of the students.", metavar="0,1,2")] = "0,1,2",
    epochs: Annotated[
        int | None, typer.Option(min=MINIMUM_EPOCHS, help="Epochs of the students, instead of the recipes'.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a teacher and six students on handwritten digits, and compare them. Takes some minutes."""
    from smskd.cli.demo import run_demo

    run_demo(out, _seeds(seeds), epochs, quiet=quiet)


bench = typer.Typer(
    name="bench",
    help="Measure how fast training is.",
    invoke_without_command=True,
    rich_markup_mode="rich",
    epilog="Example: smskd bench step --teacher resnet56 --student resnet20 --method kd",
)
app.add_typer(bench)


@bench.callback()
def bench_options(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; -: print it, and nothing else.")
]


@bench.command("step", epilog="Example: smskd bench step --teacher resnet56 --student resnet20 --method crd --steps 20")
def bench_step(
    teacher: Annotated[str, typer.Option(metavar="MODEL", help="The teacher.", autocompletion=completion.models)],
    student: Annotated[str, typer.Option(metavar="MODEL", help="The student.", autocompletion=completion.models)],
    method: Annotated[str, typer.Option(metavar="NAME", help="The method.", autocompletion=completion.methods)],
    stage: Annotated[int, typer.Option(min=1, max=2, help="2: with a reference, and the anchor to it.")] = 1,
    batch_size: Annotated[int, typer.Option(min=2, help="Pictures in a step.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps to time.")] = 40,
    epochs: Annotated[int, typer.Option(min=1, help="In their stage: what --compile auto goes by.")] = 240,
    data_size: Annotated[int, typer.Option(min=2, help="Pictures there are, of noise.")] = 50_000,
    classes: Annotated[int, typer.Option(min=2, help="Classes of the pictures.")] = 100,
    image_size: Annotated[int, typer.Option(min=1, help="Height and width of the pictures.")] = 32,
    cache: Annotated[str, typer.Option(metavar="off|memory", help="The teacher's outputs: computed, or kept.")] = "off",
    compiled: Annotated[str, typer.Option("--compile", metavar="auto|on|off", help="As in a recipe.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="fp32|bf16|fp16", help="As in a recipe.")] = "fp32",
    device: Annotated[str, typer.Option(metavar="DEVICE", help="As in a recipe.")] = "auto",
    as_json: JsonFile = None,
) -> None:
    """Time steps of training, in turn with those of a loop that is written as usual."""
    from smskd.cli.bench import print_step

    options = {
        "teacher": teacher,
        "student": student,
        "method": method,
        "stage": stage,
        "batch_size": batch_size,
        "steps": steps,
        "epochs": epochs,
        "data_size": data_size,
        "classes": classes,
        "image_size": image_size,
        "cache": cache,
        "compile": compiled,
        "precision": precision,
        "device": device,
    }
    print_step(options, as_json)


@bench.command("run", epilog="Example: smskd bench run digits/kd epochs=6 schedule.decay_epochs=4")
def bench_run(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A small one. Without it: FitNets, then KD on the digits, 12 epochs.",
            autocompletion=completion.recipes,
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: JsonFile = None,
) -> None:
    """Train a whole recipe, and its teacher first where that has no weights, and tell where the time went."""
    from smskd.cli.bench import print_run

    print_run(recipe, overrides or [], as_json)


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


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    seeds = [int(part) for part in parts if part.isdecimal()]
    if len(seeds) < len(parts) or len(set(seeds)) < len(parts) or max(seeds) >= SEEDS:
        raise UserError(f"--seeds: '{text}' is not a list of different whole numbers such as 0,1,2")
    return seeds


def main() -> None:
    """The program: a user's mistake is told in one line, with exit code 2."""
    if "" not in sys.path:
        # Recipes may name a module that lies in the working folder. What is installed goes first.
        sys.path.append("")
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="smskd", standalone_mode=False)
    except UserError as error:
        end(str(error), MISTAKE)
    except UsageError as error:
        asked = error.ctx.command_path if error.ctx else "smskd"
        end(f"{error.format_message()} (see: {asked} --help)", MISTAKE)
    except OSError as error:
        if error.filename is None:
            raise
        end(f"{error.filename}: {error.strerror}", MISTAKE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        end("stopped", INTERRUPTED)
    sys.exit(code)
