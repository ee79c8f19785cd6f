"""Runs of the same recipe, put together over their seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from smskd.errors import UserError
from smskd.runs.reader import Run


@dataclass(frozen=True)
class Statistic:
    """A number over seeds."""

    mean: float
    deviation: float | None
    """Sample standard deviation (divided by n - 1); None for one seed."""
    values: tuple[float, ...]
    """One value a run, in the order of the runs."""


@dataclass(frozen=True)
class Row:
    """One recipe over all its seeds. Accuracies and differences are in percent points of the test samples."""

    name: str
    student: str
    teacher: str | None
    data: str
    runs: tuple[Run, ...]
    top1_last: Statistic
    """Top-1 accuracy of the last epoch: the headline."""
    top1_best: Statistic
    """Top-1 accuracy of the best epoch, which is chosen by looking at the test samples."""
    top5_last: Statistic | None
    """None where there are too few classes for a top-5 accuracy."""
    teacher_top1: float | None
    """The teacher's top-1 accuracy, mean over the runs; None without a teacher."""
    forgotten: float | None
    """Percent of the test samples that the student knew before its last stage and no longer after it,
    mean over the seeds; None with one stage."""
    seconds: float
    """Duration of a run, mean over the seeds."""
    over_plain: float | None = None
    """top1_last minus that of the plain row; None without such a row, and for that row itself."""
    gap_closed: float | None = None
    """over_plain in percent of what the teacher has over the plain row; None where that is not above zero."""

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
        """top1_last minus the teacher's: negative while the student is behind. None without a teacher."""
        return None if self.teacher_top1 is None else self.top1_last.mean - self.teacher_top1


def compare(runs: Iterable[Run]) -> list[Row]:
    """One row for each recipe name, student, teacher and data set, in the order of their first runs.

    The row to compare with is the first plain one (no stage has a method) of the same student and data.

    Args:
        runs: finished runs.

    Raises:
        UserError: two runs of a row have the same seed, so that they are not independent.
    """
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(_key(run), []).append(run)
    rows = [_row(group) for group in groups.values()]
    return [_beside_plain(row, rows) for row in rows]


def labels(rows: Sequence[Row]) -> list[str]:
    """A label for each row: its name, with whatever else tells it from the other rows of that name."""
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
        # Same names all over, yet other sizes of the data: no short words for it.
        found.append(f"{label} #{position + 1}" if label in found else label)
    return found


def statistic(values: Sequence[float]) -> Statistic:
    """Mean and sample standard deviation of some numbers, at least one."""
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
    top5 = [student["top5_last"] for student in students]
    forgotten = [_forgotten_percent(run) for run in runs]
    known = [share for share in forgotten if share is not None]
    return Row(
        name=first["name"],
        student=first["student"]["model"],
        teacher=first["teacher"]["model"] if first["teacher"] else None,
        data=first["data"]["name"],
        runs=tuple(runs),
        top1_last=statistic([student["top1_last"] for student in students]),
        top1_best=statistic([student["top1_best"] for student in students]),
        top5_last=None if None in top5 else statistic(top5),
        teacher_top1=fmean(teacher["top1_last"] for teacher in teachers) if teachers else None,
        forgotten=fmean(known) if len(known) == len(runs) else None,
        seconds=fmean(summary["seconds"] for summary in summaries),
    )


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


def _beside_plain(row: Row, rows: Sequence[Row]) -> Row:
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
    room = 0.0 if row.teacher_top1 is None else row.teacher_top1 - plain.top1_last.mean
    return replace(row, over_plain=gain, gap_closed=100.0 * gain / room if room > 0 else None)
