"""The numbers and findings of an analysis in words, for the terminal and for the page of a run."""

from collections.abc import Iterator

from smskd.analysis.format import MINUS, NONE, percent, probability
from smskd.analysis.visible import one_line
from smskd.diagnostics.gradients import WHOLE, Cosine
from smskd.diagnostics.result import PartAnalysis, RunAnalysis, StageAnalysis
from smskd.diagnostics.transfer import Transfer


def quality_cells(found: PartAnalysis) -> Iterator[str]:
    """Images, top-1, negative log-likelihood, calibration error, agreement, KL to the teacher and mean TCP."""
    yield f"{found.images:,}"
    yield percent(found.top1)
    yield f"{found.calibration.nll:.3f}"
    yield f"{found.calibration.ece:.3f}"
    yield NONE if found.agreement is None else percent(found.agreement.top1)
    yield NONE if found.agreement is None else f"{found.agreement.kl:.3f}"
    yield f"{found.tcp.mean:.3f}"


def transfer_cells(found: Transfer) -> Iterator[str]:
    """Images retained, forgotten, learned and never known, and the p value."""
    for name in ("retained", "forgotten", "learned", "never_known"):
        yield f"{getattr(found.all, name):,}"
    yield probability(found.p)


def cosine_text(found: Cosine | None) -> str:
    """The mean over batches and half of the 95 % interval, where there are several batches."""
    if found is None:
        return NONE
    width = "" if found.half_width is None else f" ± {found.half_width:.2f}"
    return f"{found.mean:+.2f}".replace("-", MINUS) + width


def findings(found: RunAnalysis) -> Iterator[str]:
    """A sentence for each pair of parts that fight, each part that is left out, negative transfer and the ceiling."""
    for stage in found.stages:
        yield from _conflicts(stage)
        part = "validation" if "validation" in stage.parts else "test"
        moved = stage.parts[part].transfer
        if stage.negative_transfer and moved is not None:
            yield (
                f"Negative transfer: stage {stage.stage} ends below its start on the {part} images: "
                f"{moved.all.forgotten:,} forgotten, {moved.all.learned:,} learned (McNemar's test, p = {moved.p:.2g})."
            )
    if found.ceiling is not None:
        yield found.ceiling.sentence


def _conflicts(stage: StageAnalysis) -> Iterator[str]:
    if stage.conflict is None:
        return
    for pair in stage.conflict.pairs:
        if pair.fights:
            cosine = pair.cosines[WHOLE]
            yield (
                f"Conflict: in stage {stage.stage} {one_line(pair.parts[0])} and {one_line(pair.parts[1])} fight: "
                f"the cosine of their gradients is {cosine_text(cosine)} "
                f"(mean and 95 % interval, {cosine.batches} batches)."
            )
    for part, reason in stage.conflict.left_out.items():
        yield f"Stage {stage.stage}: gradients of {one_line(part)} are not compared: {one_line(reason)}."
