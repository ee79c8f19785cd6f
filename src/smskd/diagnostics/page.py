"""What the analysis of a run adds to its page."""

from collections.abc import Iterator

from smskd.diagnostics.analyse import analyse
from smskd.diagnostics.forgotten_samples import forgotten_samples
from smskd.diagnostics.gradients import WHOLE
from smskd.diagnostics.page_figures import figures
from smskd.diagnostics.result import PartAnalysis, RunAnalysis, StageAnalysis
from smskd.diagnostics.wording import cosine_text, findings, quality_cells, transfer_cells
from smskd.report.figure import Analysis, Table
from smskd.runs.reader import Run
from smskd.training.reports import Track, untracked

_QUALITY = ("Stage", "Part", "Images", "Top-1 %", "NLL", "ECE", "Agreement %", "KL", "TCP")
_QUALITY_NOTE = (
    "Of the student at the end of each stage. NLL: negative log-likelihood of the true class, in nats. ECE: expected "
    "calibration error. Agreement: images for which student and teacher predict the same class. KL: of the teacher's "
    "predictions to the student's, in nats. TCP: mean predicted probability of the true class. Training images are "
    "predicted without augmentation."
)
_MOVED = ("Stage", "Part", "Retained", "Forgotten", "Learned", "Never known", "p")
_MOVED_NOTE = (
    "Images, from the start of the stage to its end. p: McNemar's exact test that as many are forgotten as are learned."
)

_CONFLICT_NOTE = (
    "Cosine of the gradients of two parts of the loss at the end of the stage, for all parameters of the student and "
    "by group of layers: mean over batches ± half of the 95 % interval. Below 0 a step that lowers one part raises the "
    "other."
)


def page_analysis(run: Run, *, trust: bool = False, track: Track = untracked) -> Analysis:
    """The analysis of a run for its page.

    Args:
        run: a finished run.
        trust: import the Python objects that the run's recipe names.
        track: shows progress.

    Raises:
        UserError: as in :func:`smskd.diagnostics.analyse`.
    """
    found = analyse(run.path, trust=trust, track=track)
    return Analysis(
        remarks=tuple(findings(found)),
        tables=tuple(_tables(found)),
        figures=tuple(figures(run, found)),
        pictures=tuple(forgotten_samples(run, found, trust=trust)),
    )


def _tables(found: RunAnalysis) -> Iterator[Table]:
    quality = [(*_place(stage, part), *quality_cells(each)) for stage, part, each in _parts(found)]
    yield Table("Students of the stages", _QUALITY, 2, quality, _QUALITY_NOTE)
    moved = [
        (*_place(stage, part), *transfer_cells(each.transfer))
        for stage, part, each in _parts(found)
        if each.transfer is not None
    ]
    if moved:
        yield Table("Retained and forgotten", _MOVED, 2, moved, _MOVED_NOTE)
    pairs = [(stage, pair) for stage in found.stages if stage.conflict is not None for pair in stage.conflict.pairs]
    if pairs:
        groups = [*dict.fromkeys(group for _, pair in pairs for group in pair.cosines if group != WHOLE)]
        rows = [
            (
                _label(stage),
                " × ".join(pair.parts),
                *(cosine_text(pair.cosines.get(group)) for group in (WHOLE, *groups)),
            )
            for stage, pair in pairs
        ]
        yield Table("Conflict of gradients", ("Stage", "Parts", "All", *groups), 2, rows, _CONFLICT_NOTE)


def _parts(found: RunAnalysis) -> Iterator[tuple[StageAnalysis, str, PartAnalysis]]:
    for stage in found.stages:
        for part, each in stage.parts.items():
            yield stage, part, each


def _place(stage: StageAnalysis, part: str) -> tuple[str, str]:
    return _label(stage), part


def _label(stage: StageAnalysis) -> str:
    return f"{stage.stage} · {' + '.join(stage.methods) or 'plain'}"
