"""`smskd export` and `smskd predict`: their arguments. Nothing here imports torch."""

from pathlib import Path
from typing import Annotated

import typer

from smskd.cli.arguments import AsJson, Trust
from smskd.errors import UserError

Student = Annotated[
    Path, typer.Argument(metavar="RUN|WEIGHTS", help="The folder of a run, or a file of weights in it.")
]


def export(
    run: Student,
    safetensors: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write weights, configuration, class names and preprocessing to a folder."),
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an ONNX graph, compared with PyTorch on test images.")
    ] = None,
    torch_export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a program of torch.export (.pt2), compared likewise.")
    ] = None,
    with_preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="The graphs take images of bytes and normalise them.")
    ] = False,
    fold: Annotated[bool, typer.Option("--fold", help="Fold batch norms into the convolutions before them.")] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card, README.md, into DIR, without one into the run's folder.")
    ] = False,
    license: Annotated[
        str | None, typer.Option(metavar="ID", help="Licence of the weights, in the card, such as apache-2.0.")
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Upload weights, card and graphs to the Hugging Face hub.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="A new repository on the hub is public.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.PATH=VALUE", help="Changes to the run's recipe, such as data.source.root."),
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Write the student of a run as files that other programs load."""
    if public and push is None:
        raise UserError("--public is for --push")
    from smskd.cli.export import export_student

    export_student(
        run,
        as_json=as_json,
        safetensors=safetensors,
        onnx=onnx,
        torch_export=torch_export,
        with_preprocessing=with_preprocessing,
        fold=fold,
        card=card,
        license=license,
        push=push,
        private=not public,
        overrides=overrides or [],
        trust=trust,
    )


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|DIR", help="The folder of a run, a file of weights, or an exported folder.")
    ],
    inputs: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="Images, folders or patterns; texts for a network of texts.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes for each image.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Print the classes that a student predicts for images, with their probabilities."""
    from smskd.cli.predict import print_predictions

    print_predictions(run, inputs, top=top, device=device, trust=trust, as_json=as_json)
