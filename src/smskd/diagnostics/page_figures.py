"""The charts of an analysis, with their headings and captions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smskd.diagnostics.confidence import Distribution
from smskd.diagnostics.result import RunAnalysis, StageAnalysis
from smskd.diagnostics.transfer import Transfer
from smskd.report.class_chart import MOST_CLASSES, class_chart
from smskd.report.figure import Figure
from smskd.report.marks import run_title, stage_label
from smskd.report.probability_charts import distribution_chart, reliability_chart, weight_chart
from smskd.report.similarity_chart import similarity_chart
from smskd.runs.reader import Run

_CLASSES = (
    "Test images of each class, from the start of the stage to its end. Retained: correct both times. Learned: wrong, "
    "then correct. Forgotten: correct, then wrong. Never known: wrong both times."
)
_RELIABILITY = (
    "Accuracy of the test images whose largest predicted probability lies in each of 15 bins; below the diagonal the "
    "student is more confident than it is right. Larger points: more images."
)
_TCP = (
    "Predicted probability of the true class on training images without augmentation, in ten bins of equal width, of "
    "the student at the end of each stage"
)
_WEIGHTS = (
    "Grey: share of the training images in each bin of the true class probability. Blue: the share of the reference "
    "loss's weight that these images have."
)
_SIMILARITY = (
    "Linear CKA of the student's features at the end of each stage (rows) with those at the start of the stage and "
    "with the teacher's, on test images; 1: equal up to rotation and scale."
)


def figures(run: Run, found: RunAnalysis) -> Iterator[Figure]:
    """The figures of an analysis; a figure is there only where the run has what it shows.

    Args:
        run: a finished run.
        found: its analysis.
    """
    title = run_title(run)
    labels = [stage_label(stage) for stage in run.stages]
    for stage, label in zip(found.stages, labels, strict=True):
        if (moved := stage.parts["test"].transfer) is not None:
            yield _classes(title, stage, label, moved)
    reliability = {
        label: [(each.confidence, each.accuracy, each.images) for each in stage.parts["test"].calibration.bins]
        for stage, label in zip(found.stages, labels, strict=True)
    }
    yield Figure("calibration", "Calibration", reliability_chart(title, reliability), _RELIABILITY)
    yield from _probabilities(run, found, title, labels)
    similarities = {
        label: _similarities(stage) for stage, label in zip(found.stages, labels, strict=True) if _similarities(stage)
    }
    if similarities:
        yield Figure("similarity", "Similarity of features", similarity_chart(title, similarities), _SIMILARITY)


def _classes(title: str, stage: StageAnalysis, label: str, moved: Transfer) -> Figure:
    counts = {name: vars(each) for name, each in moved.by_class.items()}
    most = "" if len(counts) <= MOST_CLASSES else f" The {MOST_CLASSES} classes of which most is forgotten."
    chart = class_chart(f"{title}: classes in stage {label}", counts)
    return Figure(f"classes-{stage.stage}", f"Outcomes by class in stage {label}", chart, _CLASSES + most)


def _probabilities(run: Run, found: RunAnalysis, title: str, labels: list[str]) -> Iterator[Figure]:
    own = {label: stage.parts["train"].tcp for stage, label in zip(found.stages, labels, strict=True)}
    teacher = {"Teacher": found.teacher_tcp["train"]} if "train" in found.teacher_tcp else {}
    shares = {name: each.histogram for name, each in {**own, **teacher}.items()}
    caption = f"{_TCP}{', and of the teacher' if teacher else ''}."
    heading = "True class probability"
    yield Figure("confidence", heading, distribution_chart(f"{title}: {heading.lower()}", shares), caption)
    weights = {
        label: each
        for position, label in enumerate(labels)
        if (each := _weights(run.recipe["stages"], position, found)) is not None
    }
    if weights:
        heading = "Weights of the reference loss"
        yield Figure("weights", heading, weight_chart(f"{title}: {heading.lower()}", weights), _WEIGHTS)


def _weights(
    stages: Sequence[Mapping[str, Any]], position: int, found: RunAnalysis
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Shares of the samples and of their weights in the reference loss of a stage; None where it has no weights."""
    anchor = stages[position].get("anchor")
    if not anchor or position == 0 or anchor.get("tcp") not in ("probability", "complement"):
        return None
    source = _source(anchor, stages[position - 1], position, found)
    if source is None:
        return None
    if anchor["tcp"] == "probability":
        return source.histogram, source.weight
    left = 1.0 - source.mean
    if left <= 0:
        return None
    pairs = zip(source.histogram, source.weight, strict=True)
    return source.histogram, tuple((share - weight * source.mean) / left for share, weight in pairs)


def _source(
    anchor: Mapping[str, Any], before: Mapping[str, Any], position: int, found: RunAnalysis
) -> Distribution | None:
    """The true class probabilities that weight the samples of a stage; None where another student than the one that
    was carried on is the reference, whose probabilities are not known."""
    if anchor.get("tcp_from") == "teacher":
        return found.teacher_tcp.get("train")
    if before.get("reference") != before.get("carry"):
        return None
    return found.stages[position - 1].parts["train"].tcp


def _similarities(stage: StageAnalysis) -> dict[str, dict[str, float]]:
    """CKA by the student's feature and what it is compared with."""
    names = dict.fromkeys([*stage.cka_previous, *stage.cka_teacher])
    return {
        name: {
            **({"start of the stage": stage.cka_previous[name]} if name in stage.cka_previous else {}),
            **{f"teacher's {other}": value for other, value in stage.cka_teacher.get(name, {}).items()},
        }
        for name in names
    }
