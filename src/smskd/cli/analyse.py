"""`smskd analyse`: what each stage of a run did to its student."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from smskd.analysis.format import NONE, percent, probability
from smskd.analysis.visible import one_line, spreadsheet_text
from smskd.cli.printing import SafeConsole
from smskd.cli.progress import Display
from smskd.diagnostics import PartAnalysis, RunAnalysis, analyse
from smskd.diagnostics.transfer import Transfer
from smskd.runs.reader import find_finished

_QUALITY = ("stage", "part", "images", "top-1", "NLL", "ECE", "agree", "KL", "TCP")
_QUALITY_CAPTION = "top-1 and agree in percent; agree, KL: with the teacher; TCP: mean true class probability"
_TRANSFER = ("stage", "part", "retained", "forgotten", "learned", "never known", "p")
_TRANSFER_CAPTION = "images, from the start of the stage to its end; p: McNemar's test of forgotten against learned"


def analyse_runs(
    paths: Sequence[Path], form: Literal["table", "csv", "json"], *, train_images: int, trust: bool
) -> None:
    """Analyses runs and prints the results.

    Args:
        paths: folders of runs, or with runs below them.
        form: of the output; with CSV and JSON nothing else is printed on stdout.
        train_images: how many training images are predicted at most.
        trust: import the Python objects that recipes name.

    Raises:
        UserError: there is no finished run, or one cannot be analysed.
    """
    runs, remarks = find_finished(paths)
    display = Display(SafeConsole(), quiet=form != "table")
    with display.shown():
        found = [analyse(run.path, train_images=train_images, trust=trust, track=display.counted) for run in runs]
    if form == "json":
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
    elif form == "csv":
        typer.echo(_csv(found), nl=False)
    else:
        for each in found:
            _print(display, each)
    for sentence in remarks:
        typer.echo(f"smskd: {one_line(sentence)}", err=True)


def _print(display: Display, found: RunAnalysis) -> None:
    teacher = ", ".join(f"{part} {percent(top1)}" for part, top1 in found.teacher_top1.items())
    title = f"{found.run}: {found.name}, seed {found.seed}" + (f" · teacher top-1: {teacher}" if teacher else "")
    display.console.print(escape(one_line(title)), highlight=False, soft_wrap=True)
    rows = [
        (f"{stage.stage} {' + '.join(stage.methods) or 'plain'}", part, each)
        for stage in found.stages
        for part, each in stage.parts.items()
    ]
    quality = [(stage, part, *_quality(each)) for stage, part, each in rows]
    display.console.print(_table(_QUALITY, _QUALITY_CAPTION, quality), highlight=False)
    moved = [(stage, part, *_moved(each.transfer)) for stage, part, each in rows if each.transfer is not None]
    if moved:
        display.console.print(_table(_TRANSFER, _TRANSFER_CAPTION, moved), highlight=False)
    for line in _remarks(found):
        display.console.print(escape(line), highlight=False)


def _table(titles: Sequence[str], caption: str, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, title in enumerate(titles):
        table.add_column(title, justify="left" if place < 2 else "right", overflow="fold", no_wrap=place > 0)
    for row in rows:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    return table


def _quality(each: PartAnalysis) -> Iterator[str]:
    yield str(each.images)
    yield percent(each.top1)
    yield f"{each.calibration.nll:.3f}"
    yield f"{each.calibration.ece:.3f}"
    yield NONE if each.agreement is None else percent(each.agreement.top1)
    yield NONE if each.agreement is None else f"{each.agreement.kl:.3f}"
    yield f"{each.tcp.mean:.3f}"


def _moved(found: Transfer) -> Iterator[str]:
    for name in ("retained", "forgotten", "learned", "never_known"):
        yield str(getattr(found.all, name))
    yield probability(found.p)


def _remarks(found: RunAnalysis) -> Iterator[str]:
    for stage in found.stages:
        for text, similar in (
            ("start of the stage", stage.cka_previous),
            ("teacher's last feature", {name: list(own.values())[-1] for name, own in stage.cka_teacher.items()}),
        ):
            if similar:
                values = ", ".join(f"{one_line(name)} {value:.2f}" for name, value in similar.items())
                yield f"Stage {stage.stage}: linear CKA with the {text}: {values}."
        if stage.negative_transfer:
            part = "validation" if "validation" in stage.parts else "test"
            moved = stage.parts[part].transfer
            assert moved is not None
            yield (
                f"Negative transfer: stage {stage.stage} ends below its start on the {part} images: "
                f"{moved.all.forgotten} forgotten, {moved.all.learned} learned (McNemar's test, p = {moved.p:.2g})."
            )


def _csv(found: Sequence[RunAnalysis]) -> str:
    """A line for each number: run, name, seed, stage, its name as a path, value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("run", "name", "seed", "stage", "measure", "value"))
    for each in found:
        run = (spreadsheet_text(each.run), spreadsheet_text(each.name), each.seed)
        for stage in each.stages:
            values = {key: value for key, value in asdict(stage).items() if key not in ("stage", "methods")}
            for measure, value in _leaves(values):
                writer.writerow((*run, stage.stage, spreadsheet_text(measure), value))
    return out.getvalue()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str | float | int]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, tuple):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}.{place}")
    elif value is not None:
        yield path, int(value) if isinstance(value, bool) else value
