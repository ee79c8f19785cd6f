"""Where a stage begins and what it is called, drawn into a chart over the epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from smskd.report import theme
from smskd.report.marks import Record, base, stage_label

LINE = 16
"""Height in pixels of a line of labels."""

_NARROW = 270.0
"""Width of the plot on a phone. Labels that fit there fit everywhere."""
_LETTER = 6.8
_GAP = 10.0


@dataclass(frozen=True)
class Label:
    """A stage's label over the plot."""

    text: str
    epoch: float
    """Where it begins, or where it ends if it would run out of the plot."""
    align: Literal["left", "right"]
    line: int
    """0 is the line next to the plot."""


def labels(stages: Sequence[Mapping[str, Any]]) -> list[Label]:
    """The stages' labels in as few lines as keep them apart even on a phone."""
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


def room(stages: Sequence[Mapping[str, Any]]) -> int:
    """The height in pixels that the labels take over the plot."""
    return LINE * (1 + max(label.line for label in labels(stages)))


def marks(stages: Sequence[Mapping[str, Any]], x: alt.X) -> list[alt.Chart]:
    """A rule where each stage but the first begins, and the labels over the plot."""
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
