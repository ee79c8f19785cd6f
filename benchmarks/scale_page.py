"""The pages and charts of ``benchmarks/scale.py``."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import altair as alt
from scale_curves import CURVES, TOLERANCE, Curve, Point, Quantity, exponent, last_exponent

from smskd.report import theme
from smskd.report.marks import Chart, small_multiples

Measured = Mapping[str, Sequence[Point]]
"""Points by the name of the curve, at least two of each."""

_INTRODUCTION = """\
How speed and memory depend on the size of a problem, measured by `make bench-scale`. Each point is measured in a
process of its own with small networks (resnet8, also as the teacher; random weights and images, but the digits for
the stages), so that costs other than those of the networks show. Seconds and images per second on a CPU are those
of one thread's computing time, which other programs disturb less than the clock on the wall. The exponent is the
slope in log-log coordinates, by least squares over all points: 1 is proportional, 0 is constant. An exponent may
be smaller than that of the work, where a constant part prevails at small sizes; the one between the two largest
sizes is therefore given too. A larger one would be a fault."""


def faults(measured: Measured) -> list[str]:
    """A line for each quantity that grows faster than its work."""
    return [
        f"{found.name}: {quantity.title} has the exponent {worst:.2f}, not {quantity.limit}"
        for found, points in _curves(measured)
        for quantity in found.quantities
        for worst in [_worst(points, quantity)]
        if not quantity.holds(worst)
    ]


def results(measured: Measured, machine: Mapping[str, Any], outcomes: Sequence[str]) -> str:
    """The page of results, in Markdown."""
    lines = ["# Cost over size", "", _INTRODUCTION.replace("\n", " "), "", _measured_on(machine), ""]
    lines += [*_exponents(measured), ""]
    for found, points in _curves(measured):
        lines += [f"## {found.title}", "", f"{_sentence(found.setting)}.", "", *_values(found, points), ""]
    return "\n".join([*lines, "Parts:", "", *(f"- {outcome}" for outcome in outcomes)]) + "\n"


def documentation(measured: Measured, machine: Mapping[str, Any]) -> str:
    """The page of the documentation, in Markdown, with the charts."""
    lines = ["# Cost over size", "", _INTRODUCTION, "", _measured_on(machine), "", *_exponents(measured), ""]
    lines += ["All values are in `benchmarks/RESULTS-scale.md`.", ""]
    for found, _ in _curves(measured):
        lines += [f"## {found.title}", "", f"{_sentence(found.setting)}. Both axes are logarithmic.", ""]
        lines += [f"![{found.title}](../images/scale-{found.name}.svg)", ""]
    return "\n".join(lines)


def charts(measured: Measured) -> dict[str, Chart]:
    """A chart of each curve, by the name of its file."""
    return {f"scale-{found.name}.svg": _chart(found, points) for found, points in _curves(measured)}


def _chart(found: Curve, points: Sequence[Point]) -> Chart:
    names = {quantity.name: _panel(points, quantity) for quantity in found.quantities}
    records = [
        {"x": point["size"], "value": max(point[quantity.name], 1e-3), "series": names[quantity.name]}
        for quantity in found.quantities
        for point in points
    ]
    axis = alt.Axis(values=[point["size"] for point in points], format="~s", labelOverlap=True)
    x = alt.X("x:Q", title=found.axis, scale=alt.Scale(type="log", nice=False, padding=10), axis=axis)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4, format="~s"))
    layers = [
        alt.Chart().mark_line(color=theme.BLUE).encode(x=x, y=y),
        alt.Chart().mark_circle(size=40, opacity=1, color=theme.BLUE).encode(x=x, y=y),
    ]
    return small_multiples(
        layers, records, list(names.values()), found.title, f"Charts over {found.axis}", own_axes=True, two_lines=True
    )


def _panel(points: Sequence[Point], quantity: Quantity) -> str:
    return f"{quantity.title} · exponent {_decimal(exponent(points, quantity.name))}, expected {quantity.limit}"


def _exponents(measured: Measured) -> list[str]:
    rows = [
        [
            found.axis if found.name not in _NAMED else found.title,
            f"{points[0]['size']:,.0f} to {points[-1]['size']:,.0f}",
            quantity.title,
            _decimal(exponent(points, quantity.name)),
            _decimal(last_exponent(points, quantity.name)),
            quantity.limit,
            "" if quantity.holds(_worst(points, quantity)) else "**exceeded**",
        ]
        for found, points in _curves(measured)
        for quantity in found.quantities
    ]
    titles = ["Over", "From", "Quantity", "Exponent", "Between the last two", "Expected", f"Beyond {TOLERANCE:g}"]
    return _table(titles, rows, texts=3)


_NAMED = ("images-in-memory", "images-streamed", "images-crd")
"""Curves over the same axis."""


def _values(found: Curve, points: Sequence[Point]) -> list[str]:
    rows = [[f"{p['size']:,.0f}", *(f"{p[quantity.name]:,.4g}" for quantity in found.quantities)] for p in points]
    return _table([found.axis, *(quantity.title for quantity in found.quantities)], rows, texts=0)


def _worst(points: Sequence[Point], quantity: Quantity) -> float:
    """Of the fitted exponent and the one between the last two sizes, the one that is nearer to a fault."""
    both = exponent(points, quantity.name), last_exponent(points, quantity.name)
    return max(both) if quantity.bound == "most" else min(both)


def _curves(measured: Measured) -> Iterator[tuple[Curve, Sequence[Point]]]:
    return ((found, measured[found.name]) for found in CURVES if found.name in measured)


def _measured_on(machine: Mapping[str, Any]) -> str:
    name = machine["device_name"] or machine["processor"]
    versions = f"Python {machine['python']}, PyTorch {machine['torch']}"
    return f"Measured on {date.today().isoformat()}: {name}, {machine['cores']} cores; {versions}."


def _decimal(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # without the sign of a zero


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    rule = ["---" if place < texts else "---:" for place in range(len(titles))]
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]
