"""The parts of a page that are made outside of its templates: charts, tables, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from smskd.report.marks import Chart


@dataclass(frozen=True)
class Figure:
    """A chart with its heading and caption.

    Attributes:
        name: of its file, unique among the figures of a page.
        heading: above it.
        chart: the specification.
        caption: below it.
    """

    name: str
    heading: str
    chart: Chart
    caption: str


@dataclass(frozen=True)
class Table:
    """A table; its first column has the names of the rows.

    Attributes:
        heading: above it.
        columns: the headers.
        texts: how many of the first columns are text; the others are numbers.
        rows: the cells.
        note: below it.
    """

    heading: str
    columns: Sequence[str]
    texts: int
    rows: Sequence[Sequence[str]]
    note: str


@dataclass(frozen=True)
class Picture:
    """A sample as a small picture, or as its text.

    Attributes:
        source: a ``data:`` address of the picture; None for a text.
        text: of the sample; empty for an image.
        lines: below it.
    """

    source: str | None
    text: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Pictures:
    """Some samples under one heading.

    Attributes:
        heading: above them.
        note: below the heading.
        items: the samples.
    """

    heading: str
    note: str
    items: Sequence[Picture]


@dataclass(frozen=True)
class Analysis:
    """What an analysis adds to the page of a run.

    Attributes:
        remarks: sentences, the most important findings.
        tables: first on the page.
        figures: after them.
        pictures: last.
    """

    remarks: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    pictures: Sequence[Pictures] = ()
