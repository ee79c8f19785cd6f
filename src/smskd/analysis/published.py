"""Published accuracies, to be set beside measured ones."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from smskd.errors import UserError

COLUMNS = ("dataset", "teacher", "student", "method", "top1", "kind", "protocol")
"""Of the file; further ones, such as the source, are not read."""

_KINDS = ("teacher", "student", "distilled")


@dataclass(frozen=True)
class Published:
    """An accuracy from a publication.

    Attributes:
        data: name of the data set.
        teacher: name of the teacher; None for a student that learned from the labels alone.
        student: name of the student.
        methods: the method, ``None`` for a student that learned from the labels alone; of several stages joined by
            `` → ``, several in one stage by `` + ``, as :func:`smskd.analysis.compare.compare` writes them.
        top1: in percent.
        protocol: name of the training protocol, whose epochs, loss weights and selection of an epoch may be others than
            ours.
    """

    data: str
    teacher: str | None
    student: str
    methods: str | None
    top1: float
    protocol: str

    @property
    def text(self) -> str:
        """Accuracy and protocol: ``70.66 (repdistiller)``."""
        return f"{self.top1:.2f} ({self.protocol})"


def read_published(path: Path) -> list[Published]:
    """The accuracies of students in a CSV file with the columns :data:`COLUMNS`.

    ``kind`` is ``student`` (learned from the labels alone), ``distilled`` or ``teacher``; rows of teachers are left
    out. The rows of a student are repeated for each of its teachers in the tables that are copied; each is kept once.

    Raises:
        UserError: the file cannot be read, lacks a column, or a line has no number or no known kind.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; published accuracies have {', '.join(COLUMNS)}")
    found = [_entry(path, reader.line_num, row) for row in reader]
    return list(dict.fromkeys(entry for entry in found if entry is not None))


def matching(
    published: Iterable[Published], data: str, teacher: str | None, student: str, methods: str | None
) -> tuple[Published, ...]:
    """Those of the same data set, models and methods, in the order of the file.

    Args:
        published: from :func:`read_published`.
        data: name of the data set.
        teacher: name of the teacher; of no interest where ``methods`` is None.
        student: name of the student.
        methods: as :attr:`Published.methods`.
    """
    wanted = (data, None if methods is None else teacher, student, methods)
    return tuple(entry for entry in published if (entry.data, entry.teacher, entry.student, entry.methods) == wanted)


def _entry(path: Path, line: int, row: dict[str, str | None]) -> Published | None:
    values = {name: (row[name] or "").strip() for name in COLUMNS}
    if values["kind"] not in _KINDS:
        raise UserError(f"{path}, line {line}: the kind is '{values['kind']}'; it has to be one of {', '.join(_KINDS)}")
    if values["kind"] == "teacher":
        return None
    plain = values["kind"] == "student"
    return Published(
        data=values["dataset"],
        teacher=None if plain else values["teacher"],
        student=values["student"],
        methods=None if plain else _methods(values["method"]),
        top1=_percent(path, line, values["top1"]),
        protocol=values["protocol"],
    )


def _methods(text: str) -> str:
    """``fitnet->kd`` and ``fitnet + kd`` in the spelling of our rows."""
    stages = text.replace("→", "->").split("->")
    return " → ".join(" + ".join(part.strip() for part in stage.split("+")) for stage in stages)


def _percent(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and 0 <= value <= 100):
        raise UserError(f"{path}, line {line}: top1 is '{text}'; it has to be a number from 0 to 100")
    return value
