"""The comparison as a table: for the terminal, CSV, Markdown and JSON."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table

from smskd.analysis.compare import Row, Statistic
from smskd.analysis.format import NONE, difference, duration, percent, spread

JsonValue = str | float | int | None | list[int]


@dataclass(frozen=True)
class Column:
    """A column of the tables that people read."""

    title: str
    text: Callable[[Row], str]
    numeric: bool = True
    shared: bool = False
    """Whether it often is the same in all rows."""


LONG_NAME = 24
"""Longer names are broken in a table of 80 characters."""

NARROW, WIDE = 80, 110
"""Characters of a usual terminal, and of one that has room for all columns."""

_LESS_TELLING = ("top-5 last %", "vs teacher", "time")
"""Left out where room is scarce."""

_COLUMNS = (
    Column("recipe", lambda row: row.name, numeric=False),
    Column("student", lambda row: row.student, numeric=False, shared=True),
    Column("teacher", lambda row: row.teacher or NONE, numeric=False, shared=True),
    Column("data", lambda row: row.data, numeric=False, shared=True),
    Column("seeds", lambda row: str(len(row.seeds))),
    Column("top-1 last %", lambda row: spread(row.top1_last)),
    Column("top-1 best %", lambda row: spread(row.top1_best)),
    Column("top-5 last %", lambda row: spread(row.top5_last)),
    Column("teacher top-1 %", lambda row: percent(row.teacher_top1), shared=True),
    Column("vs plain", lambda row: difference(row.over_plain)),
    Column("vs teacher", lambda row: difference(row.over_teacher)),
    Column("forgotten %", lambda row: percent(row.forgotten)),
    Column("time", lambda row: duration(row.seconds)),
)


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that say something of these rows: none that is empty all over, and the data set only where
    there are several."""
    several_data = len({row.data for row in rows}) > 1
    return [column for column in _COLUMNS if _said(column, rows) and (column.title != "data" or several_data)]


def common(rows: Sequence[Row]) -> dict[str, str]:
    """What all rows share of student, teacher, data and the teacher's accuracy, by the title of its column; with
    it beside the table, the table needs no such column."""
    said = {column.title: _said(column, rows) for column in _COLUMNS if column.shared}
    return {title: next(iter(texts)) for title, texts in said.items() if len(texts) == 1}


def worded(shared: Mapping[str, str]) -> list[str]:
    """What :func:`common` gives in words: ``student resnet8x4``, ``teacher top-1 78.50 %``."""
    return [
        f"{title.removesuffix(' %')} {text} %" if title.endswith(" %") else f"{title} {text}"
        for title, text in shared.items()
    ]


def rich_table(rows: Sequence[Row], title: str | None = None, width: int = NARROW) -> Table:
    """The comparison as a table for a rich console, narrow enough for 80 characters; all columns where there is room.

    What all rows have in common (student, teacher, its accuracy, the data) stands below the table.

    Args:
        rows: the comparison.
        title: above it.
        width: of the console.
    """
    shared = common(rows)
    table = Table(
        title=title,
        title_justify="left",
        caption=escape(" · ".join([*worded(shared), "in percent"])),
        caption_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown = [
        column for column in columns(rows) if column.title not in {*shared, *(_LESS_TELLING if width < WIDE else ())}
    ]
    for column in shown:
        header = column.title.removesuffix(" %")
        table.add_column(
            header,
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.numeric or max(len(row.name) for row in rows) <= LONG_NAME,
            min_width=max(map(len, header.split())),
        )
    for row in rows:
        table.add_row(*(escape(column.text(row)) for column in shown))
    return table


def markdown(rows: Sequence[Row]) -> str:
    """The comparison as a Markdown table, with a newline at its end."""
    shown = columns(rows)
    lines = [
        [column.title for column in shown],
        ["---:" if column.numeric else ":---" for column in shown],
        *([column.text(row).replace("|", r"\|").replace("\n", " ") for column in shown] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def json_rows(rows: Sequence[Row]) -> list[dict[str, JsonValue]]:
    """The comparison as plain values in full precision, one flat mapping a row; None for no value."""
    return [
        {
            "name": row.name,
            "student": row.student,
            "teacher": row.teacher,
            "data": row.data,
            "seeds": list(row.seeds),
            **_pair("top1_last", row.top1_last),
            **_pair("top1_best", row.top1_best),
            **_pair("top5_last", row.top5_last),
            "teacher_top1": row.teacher_top1,
            "over_plain": row.over_plain,
            "over_teacher": row.over_teacher,
            "gap_closed_percent": row.gap_closed,
            "forgotten_percent": row.forgotten,
            "seconds": row.seconds,
        }
        for row in rows
    ]


def csv_text(rows: Sequence[Row]) -> str:
    """The comparison as CSV with a header line: the values of :func:`json_rows`, seeds space-separated."""
    plain = json_rows(rows)
    out = io.StringIO()
    if plain:
        writer = csv.DictWriter(out, fieldnames=list(plain[0]), lineterminator="\n")
        writer.writeheader()
        for row in plain:
            writer.writerow({key: _csv_value(value) for key, value in row.items()})
    return out.getvalue()


def _said(column: Column, rows: Sequence[Row]) -> set[str]:
    return {column.text(row) for row in rows} - {NONE}


def _pair(name: str, value: Statistic | None) -> dict[str, JsonValue]:
    return {
        f"{name}_mean": None if value is None else value.mean,
        f"{name}_sd": None if value is None else value.deviation,
    }


def _csv_value(value: JsonValue) -> str | float | int | None:
    return " ".join(str(seed) for seed in value) if isinstance(value, list) else value
