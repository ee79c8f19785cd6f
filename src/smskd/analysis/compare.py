"""Runs of the same configuration, aggregated over their seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from smskd.analysis.configurations import configuration, grouped, mixed_environments, without_copies
from smskd.analysis.difference import PairedDifference
from smskd.analysis.labels import unique_labels
from smskd.analysis.published import Published, matching
from smskd.runs.reader import Run, training_seconds

_DATA = ("fingerprints.train", "fingerprints.test")

_STRUCTURE = "fingerprints.student_structure"

_OWN_OF_DISTILLATION = ("methods", "strategy.", "stages.", "teacher", "fingerprints.teacher")
"""The beginnings of keys in which a run naturally differs from one on the labels alone."""


@dataclass(frozen=True)
class Statistic:
    """A number over several runs.

    Attributes:
        mean: arithmetic mean.
        deviation: sample standard deviation (divided by n - 1); None for a single run.
        values: of the runs, in their order.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One configuration over all its seeds. Accuracies are in percent of the test samples, differences in percentage
    points.

    Attributes:
        name: of the recipe.
        label: the name, and where several rows have this name, the keys in which they differ; unique in a comparison.
        facts: everything that determines the results but the seed, by the key of the recipe.
        student, teacher: names of the models; the teacher is None where there is none.
        data: name of the data set.
        runs: one per seed.
        top1_last: top-1 accuracy after the last epoch, the headline.
        top1_best: top-1 accuracy after the best epoch by validation; None unless all runs have a validation split.
        top5_last: top-5 accuracy after the last epoch; None with fewer than six classes.
        teacher_top1: top-1 accuracy of the teacher, mean over the runs; None without a teacher.
        forgotten: percent of the test samples that the student classified correctly before its last stage and no longer
            after it, mean over the runs; None with a single stage.
        seconds: duration of a run, mean over the runs.
        over_plain: ``top1_last`` minus that of the plain row; None without such a row and for that row itself.
        gap_closed: ``over_plain`` in percent of the teacher's advantage over the plain row; None unless that advantage
            is positive.
        baseline: label of the plain row; None as for ``over_plain``.
        against: the difference to a row that the caller has chosen, seed by seed; None where none was chosen.
        published: accuracies of the same models, method and data that others have published.
        notes: a sentence for each reservation: runs that are left out because their seed occurs twice, or that were
            trained in different environments.
    """

    name: str
    label: str
    facts: Mapping[str, Any] = field(repr=False)
    student: str
    teacher: str | None
    data: str
    runs: tuple[Run, ...]
    top1_last: Statistic
    top1_best: Statistic | None
    top5_last: Statistic | None
    teacher_top1: float | None
    forgotten: float | None
    seconds: float
    over_plain: float | None = None
    gap_closed: float | None = None
    baseline: str | None = None
    against: PairedDifference | None = None
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the order of the runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def plain(self) -> bool:
        """Whether it is training on the labels alone."""
        return all(run.plain for run in self.runs)

    @property
    def over_teacher(self) -> float | None:
        """``top1_last`` minus the teacher's, negative while the student is worse; None without a teacher."""
        return None if self.teacher_top1 is None else self.top1_last.mean - self.teacher_top1


def compare(runs: Iterable[Run]) -> list[Row]:
    """One row per configuration, in the order of their first runs.

    Runs are seeds of one configuration if they have the same name and are equal in everything that determines their
    results but the seed: the resolved recipe, the images, the structures of the networks, and the weights of teachers.
    Of two runs with the same seed the first is counted, and a note of the row names both.

    The baseline of a row is the plain row (no stage has a method) with the same structure of the student and the same
    images; of several, the one that is most similar in the other settings.

    Args:
        runs: finished runs.
    """
    groups = grouped(runs)
    facts = [configuration(group[0]) for group in groups]
    labels = unique_labels([(group[0].name, own) for group, own in zip(groups, facts, strict=True)])
    rows = [_row(*each) for each in zip(groups, facts, labels, strict=True)]
    return [_with_baseline(row, rows) for row in rows]


def with_published(rows: Iterable[Row], published: Sequence[Published]) -> list[Row]:
    """The rows with the published accuracies of the same data set, models and methods, as :attr:`Row.published`.

    Args:
        rows: the comparison.
        published: from :func:`smskd.analysis.published.read_published`.
    """
    return [
        replace(
            row,
            published=matching(
                published, row.data, row.teacher, row.student, None if row.plain else str(row.facts["methods"])
            ),
        )
        for row in rows
    ]


def notes(rows: Iterable[Row]) -> list[str]:
    """The notes of all rows, in order."""
    return [note for row in rows for note in row.notes]


def same_data(row: Row, other: Row) -> bool:
    """Whether the runs of two rows have the same training and test images."""
    return all(row.facts.get(key) == other.facts.get(key) for key in _DATA)


def statistic(values: Sequence[float]) -> Statistic:
    """Mean and sample standard deviation of at least one number."""
    return Statistic(fmean(values), stdev(values) if len(values) > 1 else None, tuple(values))


def _row(group: Sequence[Run], facts: Mapping[str, Any], label: str) -> Row:
    runs, notes = without_copies(group)
    mixed = mixed_environments(runs)
    if mixed:
        notes.append(f"{label}: the runs differ in their environments: {mixed}")
    summaries = [run.summary for run in runs]
    first = summaries[0]
    students = [summary["student"] for summary in summaries]
    teachers = [summary["teacher"] for summary in summaries if summary["teacher"]]
    forgotten = [_forgotten_percent(run) for run in runs]
    known = [share for share in forgotten if share is not None]
    return Row(
        name=runs[0].name,
        label=label,
        facts=facts,
        student=first["student"]["model"],
        teacher=first["teacher"]["model"] if first["teacher"] else None,
        data=first["data"]["name"],
        runs=tuple(runs),
        top1_last=statistic([student["top1_last"] for student in students]),
        top1_best=_statistic_of_all([student["top1_best"] for student in students]),
        top5_last=_statistic_of_all([student["top5_last"] for student in students]),
        teacher_top1=fmean(teacher["top1_last"] for teacher in teachers) if teachers else None,
        forgotten=fmean(known) if len(known) == len(runs) else None,
        seconds=fmean(map(training_seconds, summaries)),
        notes=tuple(notes),
    )


def _statistic_of_all(values: Sequence[float | None]) -> Statistic | None:
    """The statistic; None if any run lacks the value."""
    known = [value for value in values if value is not None]
    return statistic(known) if len(known) == len(values) else None


def _forgotten_percent(run: Run) -> float | None:
    count = run.stages[-1]["forgotten"]
    return None if count is None else 100.0 * float(count) / float(run.summary["data"]["test_samples"])


def _with_baseline(row: Row, rows: Sequence[Row]) -> Row:
    if row.plain:
        return row
    structure = row.facts.get(_STRUCTURE)
    candidates = [
        other for other in rows if other.plain and other.facts.get(_STRUCTURE) == structure and same_data(row, other)
    ]
    if not candidates:
        return row
    plain = min(candidates, key=lambda other: _distance(row, other))
    gain = row.top1_last.mean - plain.top1_last.mean
    gap = 0.0 if row.teacher_top1 is None else row.teacher_top1 - plain.top1_last.mean
    closed = 100.0 * gain / gap if gap > 0 else None
    return replace(row, over_plain=gain, gap_closed=closed, baseline=plain.label)


def _distance(row: Row, plain: Row) -> int:
    """The number of settings in which a row differs from a plain one, other than those of distillation."""
    keys = (key for key in row.facts.keys() | plain.facts.keys() if not key.startswith(_OWN_OF_DISTILLATION))
    return sum(row.facts.get(key) != plain.facts.get(key) for key in keys)
