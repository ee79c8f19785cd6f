"""Diagrams of boxes and arrows as SVG, drawn while the site is built.

A diagram consists of rows of boxes, top to bottom. It is narrow, so that its text is readable on a phone without
zooming, and takes its colours from the page around it, light or dark.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

WIDTH = 368.0
_GAP, _MARGIN, _PADDING = 16.0, 2.0, 10.0
_ARROW = 40.0
"""Height of the space between two rows."""
_LINE, _TITLE_SIZE, _TEXT_SIZE = 17.0, 13.5, 13.0
_TITLE_ADVANCE, _TEXT_ADVANCE = 0.602 * _TITLE_SIZE, 0.53 * _TEXT_SIZE
"""Mean width of a character of the title, which is monospaced, and of the text."""
_HEAD = 4.5

STYLE = "".join(
    f".diagram {rule}"  # the style sheet of an inline SVG applies to the whole page
    for rule in (
        ".box{fill:var(--md-code-bg-color,#f5f5f5);stroke:var(--md-default-fg-color--lighter,#bdbdbd)}",
        ".file{stroke-dasharray:5 3}",
        "text{fill:var(--md-default-fg-color,#212121)}",
        ".title{font:600 13.5px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}",
        ".text{font:13px system-ui,sans-serif}",
        ".line{stroke:var(--md-typeset-a-color,#4051b5);stroke-width:1.5;fill:none}",
        ".head{fill:var(--md-typeset-a-color,#4051b5)}",
    )
)


@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        title: names of classes and functions, or of a file.
        text: below the title; it is broken into lines.
        file: whether it stands for something on disk, which is drawn with a dashed border.
    """

    title: str
    text: str = ""
    file: bool = False


@dataclass(frozen=True)
class Arrow:
    """An arrow from a box to one of the next row.

    Attributes:
        start, end: (row, column) of the boxes, counted from 0.
        label: beside it.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    label: str = ""


@dataclass(frozen=True)
class Diagram:
    """A diagram.

    Attributes:
        title: for screen readers.
        rows: of boxes, which share the width equally.
        arrows: between them.
    """

    title: str
    rows: tuple[tuple[Box, ...], ...]
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True)
class _Placed:
    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


def svg(diagram: Diagram) -> str:
    """The diagram as one SVG element, without line breaks.

    Raises:
        ValueError: a title or a label does not fit, or an arrow does not lead to a neighbour.
    """
    rows = _placed(diagram)
    height = rows[-1][0].bottom + _MARGIN
    parts = [_box(placed) for row in rows for placed in row]
    parts += [_arrow(arrow, rows) for arrow in diagram.arrows]
    return (
        f'<svg class="diagram" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(diagram.title)}"><style>{STYLE}</style>{"".join(parts)}</svg>'
    )


def _placed(diagram: Diagram) -> list[list[_Placed]]:
    result, y = [], _MARGIN
    for boxes in diagram.rows:
        width = (WIDTH - 2 * _MARGIN - (len(boxes) - 1) * _GAP) / len(boxes)
        height = 2 * _PADDING + _LINE * max(1 + len(_lines(box.text, width)) for box in boxes)
        result.append(
            [_Placed(box, _MARGIN + place * (width + _GAP), y, width, height) for place, box in enumerate(boxes)]
        )
        y += height + _ARROW
    return result


def _lines(text: str, width: float) -> list[str]:
    return textwrap.wrap(text, int((width - 2 * _PADDING) / _TEXT_ADVANCE))


def _box(placed: _Placed) -> str:
    box = placed.box
    if len(box.title) * _TITLE_ADVANCE > placed.width - 2 * _PADDING:
        raise ValueError(f"the title does not fit into its box: {box.title}")
    kind = "box file" if box.file else "box"
    rectangle = (
        f'<rect class="{kind}" x="{placed.x:g}" y="{placed.y:g}" width="{placed.width:g}" '
        f'height="{placed.height:g}" rx="6"/>'
    )
    x, y = placed.x + _PADDING, placed.y + _PADDING + 0.75 * _LINE
    texts = [("title", box.title), *(("text", line) for line in _lines(box.text, placed.width))]
    return rectangle + "".join(_text(kind, x, y + _LINE * n, words) for n, (kind, words) in enumerate(texts))


def _text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def _arrow(arrow: Arrow, rows: list[list[_Placed]]) -> str:
    (first, left), (second, right) = arrow.start, arrow.end
    if second != first + 1:
        raise ValueError(f"an arrow leads to the next row, not from {arrow.start} to {arrow.end}")
    start, end = rows[first][left], rows[second][right]
    x = min((start, end), key=lambda placed: placed.width).middle
    if not start.x < x < start.x + start.width or not end.x < x < end.x + end.width:
        raise ValueError(f"the boxes {arrow.start} and {arrow.end} are not above each other")
    if x + 8 + len(arrow.label) * _TEXT_ADVANCE > WIDTH:
        raise ValueError(f"the label is too long: {arrow.label}")
    label = _text("text", x + 8, (start.bottom + end.y) / 2 + 4, arrow.label) if arrow.label else ""
    neck = end.y - 2 * _HEAD
    return (
        f'<path class="line" d="M{x:g} {start.bottom:g}V{neck:g}"/>'
        f'<polygon class="head" points="{x:g},{end.y:g} {x - _HEAD:g},{neck:g} {x + _HEAD:g},{neck:g}"/>{label}'
    )


def names(diagram: Diagram) -> Iterator[str]:
    """The names in the titles of the boxes that stand for code."""
    for row in diagram.rows:
        for box in row:
            if not box.file:
                yield from (part.strip().removesuffix("()") for part in box.title.split(","))
