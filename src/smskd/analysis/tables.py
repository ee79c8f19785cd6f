"""The comparison as a table: for the terminal, CSV, Markdown and JSON."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table

from smskd.analysis.compare import Row, Statistic
from smskd.analysis.difference import PairedDifference
from smskd.analysis.format import NONE, difference, duration, interval, percent, probability, spread
from smskd.analysis.learning_rates import other_rates
from smskd.analysis.visible import markdown_text, one_line, spreadsheet_text

JsonValue = str | float | int | None | list[int]


@dataclass(frozen=True)
class Column:
    """A column of the tables for people.

    Attributes:
        title: its header.
        text: the cell of a row.
        numeric: whether it is aligned to the right.
        shared: whether it may be moved below the table where all rows have the same text.
    """

    title: str
    text: Callable[[Row], str]
    numeric: bool = True
    shared: bool = False


LONG_NAME = 24
"""Characters from which a name is wrapped in a table of 80 characters."""

NARROW, WIDE = 80, 110
"""Widths in characters: of a usual terminal, and of one with space for all columns."""

_SECONDARY = ("top-5 last %", "vs teacher", "time")
"""Columns that a narrow table omits."""

_COLUMNS = (
    Column("recipe", lambda row: row.label, numeric=False),
    Column("student", lambda row: row.student, numeric=False, shared=True),
    Column("teacher", lambda row: row.teacher or NONE, numeric=False, shared=True),
    Column("data", lambda row: row.data, numeric=False, shared=True),
    Column("seeds", lambda row: str(len(row.seeds))),
    Column("top-1 last %", lambda row: spread(row.top1_last)),
    Column("top-1 best %", lambda row: spread(row.top1_best)),
    Column("top-5 last %", lambda row: spread(row.top5_last)),
    Column("teacher top-1 %", lambda row: percent(row.teacher_top1), shared=True),
    Column("vs plain", lambda row: difference(row.over_plain)),
    Column("difference", lambda row: difference(None if row.against is None else row.against.mean)),
    Column("95 % interval", lambda row: interval(None if row.against is None else row.against.interval)),
    Column("p (Holm)", lambda row: probability(None if row.against is None else row.against.corrected_p)),
    Column("published %", lambda row: ", ".join(entry.text for entry in row.published) or NONE, numeric=False),
    Column("vs teacher", lambda row: difference(row.over_teacher)),
    Column("forgotten %", lambda row: percent(row.forgotten)),
    Column("time", lambda row: duration(row.seconds)),
)


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns for these rows: those that have a value in some row, and the data set only where there are several.

    Args:
        rows: the comparison.
    """
    several_data = len({row.data for row in rows}) > 1
    return [column for column in _COLUMNS if _texts(column, rows) and (column.title != "data" or several_data)]


def common(rows: Sequence[Row]) -> dict[str, str]:
    """Student, teacher, data and teacher accuracy, as far as all rows have the same, by the title of the column.

    They are written once beside the table instead of in a column.
    """
    found = {column.title: _texts(column, rows) for column in _COLUMNS if column.shared}
    return {title: next(iter(texts)) for title, texts in found.items() if len(texts) == 1}


def phrases(shared: Mapping[str, str]) -> list[str]:
    """The result of :func:`common` as phrases: ``student resnet8x4``, ``teacher top-1 78.50 %``."""
    return [
        f"{title.removesuffix(' %')} {text} %" if title.endswith(" %") else f"{title} {text}"
        for title, text in shared.items()
    ]


def rich_table(rows: Sequence[Row], title: str | None = None, width: int = NARROW) -> Table:
    """The comparison as a table for a rich console, with all columns from a width of 110 characters.

    Student, teacher, teacher accuracy and data that all rows have in common are written below the table.

    Args:
        rows: the comparison.
        title: above the table.
        width: of the console in characters, at least 80.
    """
    shared = common(rows)
    table = Table(
        title=title,
        title_justify="left",
        caption=_caption(rows, shared),
        caption_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown = [column for column in columns(rows) if column.title not in {*shared, *(_SECONDARY if width < WIDE else ())}]
    for column in shown:
        header = column.title.removesuffix(" %")
        table.add_column(
            header,
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.numeric or max(len(one_line(row.label)) for row in rows) <= LONG_NAME,
            min_width=max(map(len, header.split())),
        )
    for row in rows:
        table.add_row(*(escape(one_line(column.text(row))) for column in shown))
    return table


def _caption(rows: Sequence[Row], shared: Mapping[str, str]) -> str:
    lines = [" · ".join([*phrases(shared), "in percent"])]
    if any(row.top1_best for row in rows):
        lines.append("best: the epoch with the highest accuracy on the validation split")
    return "\n".join(escape(one_line(line)) for line in [*lines, *explanations(rows)])


def explanations(rows: Sequence[Row]) -> list[str]:
    """What the columns of differences and of published accuracies mean, and what else differs; nothing where there are
    none."""
    baseline = next((row.against.baseline for row in rows if row.against is not None), None)
    lines = []
    if baseline is not None:
        lines.append(
            f"difference to {baseline}, paired by seed, in percentage points; interval: bootstrap (BCa); "
            "p: paired t test, corrected for the number of rows"
        )
    if (rates := other_rates(rows)) is not None:
        lines.append(rates)
    if any(row.published for row in rows):
        lines.append(
            "published: accuracy and name of its training protocol, which may be another than that of these runs"
        )
    return lines


def markdown(rows: Sequence[Row]) -> str:
    """The comparison as a Markdown table that ends with a newline."""
    shown = columns(rows)
    lines = [
        [column.title for column in shown],
        ["---:" if column.numeric else ":---" for column in shown],
        *([markdown_text(column.text(row)) for column in shown] for row in rows),
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "".join(f"\n{markdown_text(line)}\n" for line in explanations(rows))


def json_rows(rows: Sequence[Row]) -> list[dict[str, JsonValue]]:
    """The comparison in full precision, one flat mapping per row; missing values are None.

    Accuracies are in percent, differences in percentage points. ``_sd`` is the sample standard deviation over
    the seeds.
    """
    return [
        {
            "name": row.name,
            "label": row.label,
            "student": row.student,
            "teacher": row.teacher,
            "data": row.data,
            "seeds": list(row.seeds),
            **_pair("top1_last", row.top1_last),
            **_pair("top1_best", row.top1_best),
            **_pair("top5_last", row.top5_last),
            "teacher_top1": row.teacher_top1,
            "baseline": row.baseline,
            "over_plain": row.over_plain,
            "over_teacher": row.over_teacher,
            "gap_closed_percent": row.gap_closed,
            **_difference(row.against),
            "published": "; ".join(entry.text for entry in row.published) or None,
            "forgotten_percent": row.forgotten,
            "seconds": row.seconds,
        }
        for row in rows
    ]


def csv_text(rows: Sequence[Row]) -> str:
    """The values of :func:`json_rows` as CSV with a header line; seeds are separated by spaces.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    values = json_rows(rows)
    out = io.StringIO()
    if values:
        writer = csv.DictWriter(out, fieldnames=list(values[0]), lineterminator="\n")
        writer.writeheader()
        for row in values:
            writer.writerow({key: _csv_value(value) for key, value in row.items()})
    return out.getvalue()


def _texts(column: Column, rows: Sequence[Row]) -> set[str]:
    return {column.text(row) for row in rows} - {NONE}


def _pair(name: str, value: Statistic | None) -> dict[str, JsonValue]:
    return {
        f"{name}_mean": None if value is None else value.mean,
        f"{name}_sd": None if value is None else value.deviation,
    }


def _difference(found: PairedDifference | None) -> dict[str, JsonValue]:
    low, high = (None, None) if found is None or found.interval is None else found.interval
    return {
        "difference_to": None if found is None else found.baseline,
        "difference": None if found is None else found.mean,
        "difference_pairs": None if found is None else len(found.seeds),
        "difference_low": low,
        "difference_high": high,
        "difference_t_half_width": None if found is None else found.half_width,
        "difference_p": None if found is None else found.p,
        "difference_p_holm": None if found is None else found.corrected_p,
    }


def _csv_value(value: JsonValue) -> str | float | int | None:
    if isinstance(value, list):
        return " ".join(str(seed) for seed in value)
    return spreadsheet_text(value) if isinstance(value, str) else value
