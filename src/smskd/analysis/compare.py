"""Runs of the same recipe, aggregated over their seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from smskd.errors import UserError
from smskd.runs.reader import Run


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
    """One recipe over all its seeds. Accuracies are in percent of the test samples, differences in percentage points.

    Attributes:
        name: of the recipe.
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
    """

    name: str
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
    """One row per recipe name, student, teacher and data set, in the order of their first runs.

    The baseline of a row is the first plain row (no stage has a method) with the same student and data.

    Args:
        runs: finished runs.

    Raises:
        UserError: two runs of a row have the same seed and so are not independent.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(_key(run), []).append(run)
    rows = [_row(group) for group in groups.values()]
    return [_with_baseline(row, rows) for row in rows]


def labels(rows: Sequence[Row]) -> list[str]:
    """A unique label for each row: its name, and where rows share a name, the student, teacher or data that differ."""
    parts: tuple[Callable[[Row], str], ...] = (
        lambda row: row.student,
        lambda row: row.teacher or "no teacher",
        lambda row: row.data,
    )
    found = []
    for position, row in enumerate(rows):
        same = [other for other in rows if other.name == row.name]
        extra = [part(row) for part in parts if len({part(other) for other in same}) > 1]
        label = f"{row.name} ({', '.join(extra)})" if extra else row.name
        # Rows that differ only in the size of the data.
        found.append(f"{label} #{position + 1}" if label in found else label)
    return found


def statistic(values: Sequence[float]) -> Statistic:
    """Mean and sample standard deviation of at least one number."""
    return Statistic(fmean(values), stdev(values) if len(values) > 1 else None, tuple(values))


def _key(run: Run) -> tuple[object, ...]:
    teacher, data = run.summary["teacher"], run.summary["data"]
    return (
        run.name,
        run.summary["student"]["model"],
        teacher and teacher["model"],
        data["name"],
        data["train_samples"],
        data["test_samples"],
    )


def _row(runs: Sequence[Run]) -> Row:
    _check_seeds(runs)
    summaries = [run.summary for run in runs]
    first = summaries[0]
    students = [summary["student"] for summary in summaries]
    teachers = [summary["teacher"] for summary in summaries if summary["teacher"]]
    forgotten = [_forgotten_percent(run) for run in runs]
    known = [share for share in forgotten if share is not None]
    return Row(
        name=first["name"],
        student=first["student"]["model"],
        teacher=first["teacher"]["model"] if first["teacher"] else None,
        data=first["data"]["name"],
        runs=tuple(runs),
        top1_last=statistic([student["top1_last"] for student in students]),
        top1_best=_statistic_of_all([student["top1_best"] for student in students]),
        top5_last=_statistic_of_all([student["top5_last"] for student in students]),
        teacher_top1=fmean(teacher["top1_last"] for teacher in teachers) if teachers else None,
        forgotten=fmean(known) if len(known) == len(runs) else None,
        seconds=fmean(summary["seconds"] for summary in summaries),
    )


def _statistic_of_all(values: Sequence[float | None]) -> Statistic | None:
    """The statistic; None if any run lacks the value."""
    known = [value for value in values if value is not None]
    return statistic(known) if len(known) == len(values) else None


def _check_seeds(runs: Sequence[Run]) -> None:
    by_seed: dict[int, Run] = {}
    for run in runs:
        twin = by_seed.setdefault(run.seed, run)
        if twin is not run:
            raise UserError(
                f"{twin.path} and {run.path}: two runs of {run.name!r} with seed {run.seed}; "
                "leave one out, or give their recipes different names"
            )


def _forgotten_percent(run: Run) -> float | None:
    count = run.stages[-1]["forgotten"]
    return None if count is None else 100.0 * float(count) / float(run.summary["data"]["test_samples"])


def _with_baseline(row: Row, rows: Sequence[Row]) -> Row:
    key = _key(row.runs[0])
    plain = next(
        (
            other
            for other in rows
            if other.plain and other.student == row.student and _key(other.runs[0])[3:] == key[3:]
        ),
        None,
    )
    if plain is None or plain is row:
        return row
    gain = row.top1_last.mean - plain.top1_last.mean
    gap = 0.0 if row.teacher_top1 is None else row.teacher_top1 - plain.top1_last.mean
    return replace(row, over_plain=gain, gap_closed=100.0 * gain / gap if gap > 0 else None)
