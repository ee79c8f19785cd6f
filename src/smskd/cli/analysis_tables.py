"""Analyses of runs as tables and sentences."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smskd.analysis.format import MINUS, NONE, count, duration, memory, milliseconds, part_name, percent
from smskd.analysis.visible import one_line
from smskd.diagnostics import RunAnalysis, StageAnalysis
from smskd.diagnostics.gradients import WHOLE, PairConflict
from smskd.diagnostics.wording import cosine_text, findings, quality_cells, transfer_cells

_QUALITY = ("stage", "part", "images", "top-1", "NLL", "ECE", "agree", "KL", "TCP")
_QUALITY_CAPTION = "top-1 and agree in percent; agree, KL: with the teacher; TCP: mean true class probability"
_TRANSFER = ("stage", "part", "retained", "forgotten", "learned", "never known", "p")
_TRANSFER_CAPTION = "images, from the start of the stage to its end; p: McNemar's test of forgotten against learned"
_CONFLICT = ("stage, parts of the loss", "cosine", "by layers")
_CONFLICT_CAPTION = (
    "cosine of the gradients at the end of the stage: mean over batches, 95 % interval; below 0 they oppose"
)
_COST = ("stage", "time", "step", "memory", "parts of a step, ms")
_COST_CAPTION = "as measured in training; time: of the epochs with tests; memory: peak"


def print_analysis(console: Console, found: RunAnalysis) -> None:
    """Prints the most important numbers of an analysis.

    Args:
        console: to print to.
        found: of a run.
    """
    teacher = ", ".join(f"{part} {percent(top1)}" for part, top1 in found.teacher_top1.items())
    title = f"{found.run}: {found.name}, seed {found.seed}" + (f" · teacher top-1: {teacher}" if teacher else "")
    console.print(escape(one_line(title)), highlight=False, soft_wrap=True)
    rows = [
        (f"{stage.stage} {' + '.join(stage.methods) or 'plain'}", part, each)
        for stage in found.stages
        for part, each in stage.parts.items()
    ]
    quality = [(stage, part, *quality_cells(each)) for stage, part, each in rows]
    console.print(_table(_QUALITY, _QUALITY_CAPTION, quality), highlight=False)
    moved = [(stage, part, *transfer_cells(each.transfer)) for stage, part, each in rows if each.transfer is not None]
    if moved:
        console.print(_table(_TRANSFER, _TRANSFER_CAPTION, moved), highlight=False)
    compared = [
        (f"{stage.stage} {' x '.join(pair.parts)}", *_cosines(pair)) for stage in found.stages for pair in _pairs(stage)
    ]
    if compared:
        console.print(_table(_CONFLICT, _CONFLICT_CAPTION, compared), highlight=False)
    console.print(_table(_COST, _COST_CAPTION, [*_costs(found)]), highlight=False)
    for line in _remarks(found):
        console.print(escape(line), highlight=False)


def _table(titles: Sequence[str], caption: str, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, title in enumerate(titles):
        table.add_column(title, justify="left" if place < 2 else "right", overflow="fold", no_wrap=place > 0)
    for row in rows:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    return table


def _remarks(found: RunAnalysis) -> Iterator[str]:
    for stage in found.stages:
        for text, similar in (
            ("start of the stage", stage.cka_previous),
            ("teacher's last feature", {name: list(own.values())[-1] for name, own in stage.cka_teacher.items()}),
        ):
            if similar:
                values = ", ".join(f"{one_line(name)} {value:.2f}" for name, value in similar.items())
                yield f"Stage {stage.stage}: linear CKA with the {text}: {values}."
    yield from findings(found)
    assert found.cost is not None
    networks = [("student", found.cost.student), *([("teacher", found.cost.teacher)] if found.cost.teacher else [])]
    for role, network in networks:
        times = network.latency_milliseconds
        yield (
            f"Cost of the {role} ({one_line(network.model)}): {count(network.parameters)} parameters, "
            f"{count(network.macs)} multiply-adds, latency {milliseconds(times.get('1'))} for one sample, "
            f"{milliseconds(times.get('64'))} for 64."
        )


def _pairs(stage: StageAnalysis) -> tuple[PairConflict, ...]:
    return () if stage.conflict is None else stage.conflict.pairs


def _cosines(pair: PairConflict) -> Iterator[str]:
    yield cosine_text(pair.cosines.get(WHOLE))
    layers = {name: found for name, found in pair.cosines.items() if name != WHOLE}
    yield ", ".join(f"{name} {found.mean:+.2f}".replace("-", MINUS) for name, found in layers.items()) or NONE


def _costs(found: RunAnalysis) -> Iterator[Sequence[str]]:
    assert found.cost is not None
    for stage, cost in zip(found.stages, found.cost.stages, strict=True):
        parts = sorted(cost.milliseconds.items(), key=lambda part: -part[1])
        most = ", ".join(f"{part_name(name)} {value:.1f}" for name, value in parts if value >= 0.05)
        yield (
            f"{stage.stage} {' + '.join(stage.methods) or 'plain'}",
            duration(cost.seconds) + (" (stored)" if cost.stored else ""),
            milliseconds(cost.step_milliseconds),
            memory(cost.peak_memory_bytes),
            most or NONE,
        )
