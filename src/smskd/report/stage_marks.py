"""Boundaries and labels of the stages in a chart over the epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from smskd.report import theme
from smskd.report.marks import Record, base, stage_label

LINE = 16
"""Height in pixels of a line of labels."""

_NARROW = 270.0
"""Width in pixels of the plot on a phone; labels that fit there fit everywhere."""

_LETTER = 6.8
"""Mean width in pixels of a letter."""

_GAP = 10.0
"""Least distance in pixels between two labels."""


@dataclass(frozen=True)
class Label:
    """The label of a stage above the plot.

    Attributes:
        text: of the label.
        epoch: of its left end; of its right end if it would extend beyond the plot.
        align: which end that is.
        line: counted upwards, 0 directly above the plot.
    """

    text: str
    epoch: float
    align: Literal["left", "right"]
    line: int


def labels(stages: Sequence[Mapping[str, Any]]) -> list[Label]:
    """The labels of the stages, in as few lines as they need not to overlap on a phone."""
    begin, end = stages[0]["epochs"][0] - 0.5, stages[-1]["epochs"][1] + 0.5
    ends: list[float] = []
    found = []
    for stage in stages:
        text = stage_label(stage)
        left = _NARROW * (stage["epochs"][0] - 0.5 - begin) / (end - begin)
        width = _LETTER * len(text)
        inside = left + width <= _NARROW
        left = left if inside else _NARROW - width
        line = next((i for i, taken in enumerate(ends) if taken + _GAP <= left), len(ends))
        ends[line : line + 1] = [left + width]
        found.append(Label(text, stage["epochs"][0] - 0.5 if inside else end, "left" if inside else "right", line))
    return found


def height(stages: Sequence[Mapping[str, Any]]) -> int:
    """The height in pixels of the labels above the plot."""
    return LINE * (1 + max(label.line for label in labels(stages)))


def marks(stages: Sequence[Mapping[str, Any]], x: alt.X) -> list[alt.Chart]:
    """Vertical rules between the stages, and the labels above the plot."""
    placed = labels(stages)
    layers = [
        base([{"epoch": label.epoch, "text": label.text} for label in placed if (label.line, label.align) == kind])
        .mark_text(align=kind[1], baseline="bottom", fontWeight=600, fontSize=11.5, color=theme.MUTED)
        .encode(x=x, y=alt.value(-4 - LINE * kind[0]), text="text:N")
        for kind in sorted({(label.line, label.align) for label in placed})
    ]
    boundaries: list[Record] = [{"epoch": stage["epochs"][0] - 0.5} for stage in stages[1:]]
    if boundaries:
        rules = base(boundaries).mark_rule(strokeDash=[3, 3]).encode(x=x)
        layers.insert(0, rules)
    return layers
