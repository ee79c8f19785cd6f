"""`smskd analyse`: what each stage of a run did to its student."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import typer
from rich.markup import escape

from smskd.analysis.visible import one_line
from smskd.cli.analysis_csv import as_csv
from smskd.cli.analysis_tables import print_analysis
from smskd.cli.printing import SafeConsole
from smskd.cli.progress import Display
from smskd.diagnostics import analyse, ceilings_over_runs
from smskd.runs.reader import find_finished


def analyse_runs(
    paths: Sequence[Path],
    form: Literal["table", "csv", "json"],
    *,
    train_images: int,
    gradient_batches: int,
    trust: bool,
) -> None:
    """Analyses runs and prints the results.

    Args:
        paths: folders of runs, or with runs below them.
        form: of the output; with CSV and JSON nothing else is printed on stdout.
        train_images: how many training images are predicted at most.
        gradient_batches: on how many batches gradients are compared; 0: they are not.
        trust: import the Python objects that recipes name.

    Raises:
        UserError: there is no finished run, or one cannot be analysed.
    """
    runs, remarks = find_finished(paths)
    display = Display(SafeConsole(), quiet=form != "table")
    with display.shown():
        found = [
            analyse(
                run.path,
                train_images=train_images,
                gradient_batches=gradient_batches,
                trust=trust,
                track=display.counted,
            )
            for run in runs
        ]
    ceilings = ceilings_over_runs(found)
    if form == "json":
        whole = {"runs": [asdict(each) for each in found], "ceilings": [asdict(each) for each in ceilings]}
        typer.echo(json.dumps(whole, indent=2))
    elif form == "csv":
        typer.echo(as_csv(found, ceilings), nl=False)
    else:
        for each in found:
            print_analysis(display.console, each)
        for ceiling in ceilings:
            display.console.print(
                escape(f"Over runs of {len(ceiling.points)} lengths: {ceiling.sentence}"), highlight=False
            )
    for sentence in remarks:
        typer.echo(f"smskd: {one_line(sentence)}", err=True)
