"""The commands `smskd bench step`, `smskd bench run` and `smskd bench data`."""

from pathlib import Path
from typing import Annotated

import typer

from smskd.cli import completion
from smskd.cli.arguments import Overrides

bench = typer.Typer(
    name="bench",
    help="Measure the speed of training.",
    invoke_without_command=True,
    rich_markup_mode="rich",
    epilog="Example: smskd bench step --teacher resnet56 --student resnet20 --method kd",
)

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the result as JSON; -: print it, and nothing else."),
]


@bench.callback()
def bench_options(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


@bench.command("step", epilog="Example: smskd bench step --teacher resnet56 --student resnet20 --method crd --steps 20")
def bench_step(
    teacher: Annotated[str, typer.Option(metavar="MODEL", help="The teacher.", autocompletion=completion.models)],
    student: Annotated[str, typer.Option(metavar="MODEL", help="The student.", autocompletion=completion.models)],
    method: Annotated[str, typer.Option(metavar="NAME", help="The method.", autocompletion=completion.methods)],
    stage: Annotated[int, typer.Option(min=1, max=2, help="2: with a reference and the anchor to it.")] = 1,
    batch_size: Annotated[int, typer.Option(min=2, help="Images per step.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps to time.")] = 40,
    epochs: Annotated[int, typer.Option(min=1, help="Length of the stage, on which --compile auto depends.")] = 240,
    data_size: Annotated[int, typer.Option(min=2, help="Number of training images, of random noise.")] = 50_000,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 100,
    image_size: Annotated[int, typer.Option(min=1, help="Height and width of the images.")] = 32,
    cache: Annotated[str, typer.Option(metavar="off|memory", help="Cache of the teacher's outputs.")] = "off",
    compiled: Annotated[str, typer.Option("--compile", metavar="auto|on|off", help="As in a recipe.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="fp32|bf16|fp16", help="As in a recipe.")] = "fp32",
    device: Annotated[str, typer.Option(metavar="DEVICE", help="As in a recipe.")] = "auto",
    as_json: JsonFile = None,
) -> None:
    """Time training steps, alternating with those of a baseline loop."""
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


@bench.command("run", epilog="Example: smskd bench run digits/kd training.epochs=6")
def bench_run(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help=r"A short recipe.  \[default: FitNets, then KD on the digits, 12 epochs]",
            autocompletion=completion.recipes,
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: JsonFile = None,
) -> None:
    """Train a recipe, and its teacher first if it has no weights, and show the parts of the time."""
    from smskd.cli.bench import print_run

    print_run(recipe, overrides or [], as_json)


@bench.command("data", epilog="Example: smskd bench data --workers 2")
def bench_data(
    root: Annotated[
        str | None, typer.Option(metavar="FOLDER", help=r"With train/CLASS and val/CLASS.  \[default: made pictures]")
    ] = None,
    pictures: Annotated[int, typer.Option(min=4, help="Number of pictures that are made.")] = 512,
    height: Annotated[int, typer.Option(min=1, help="Of the pictures that are made.")] = 375,
    width: Annotated[int, typer.Option(min=1, help="Of the pictures that are made.")] = 500,
    image_size: Annotated[int, typer.Option(min=1, help="Height and width of the crops.")] = 224,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes of each loop.")] = 2,
    turns: Annotated[int, typer.Option(min=1, help="Epochs of each loop, in turn.")] = 3,
    as_json: JsonFile = None,
) -> None:
    """Time random resized crops of JPEG files, alternating with the usual loop of torchvision."""
    from smskd.cli.bench import print_data

    options = {
        "root": root,
        "pictures": pictures,
        "height": height,
        "width": width,
        "image_size": image_size,
        "batch_size": batch_size,
        "workers": workers,
        "turns": turns,
    }
    print_data(options, as_json)
