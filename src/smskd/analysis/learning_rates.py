"""Epochs at each learning rate: recipes that differ in them differ in more than their methods."""

from collections import Counter
from collections.abc import Sequence

from smskd.analysis.compare import Row

_DIGITS = 4
"""Significant ones, in which learning rates are compared."""

_NEGLIGIBLE = 0.05
"""Share of the epochs: shares of a few epochs are rounded."""

_RATES, _LABELS = 4, 3
"""Learning rates and labels of recipes that a sentence names."""

Epochs = tuple[tuple[float, int], ...]
"""Learning rates, the largest first, each with its number of epochs."""


def epochs_by_rate(row: Row) -> Epochs:
    """The number of epochs at each learning rate, in the first run; empty where its metrics have none."""
    rates = [entry.get("learning_rate") for entry in row.runs[0].metrics]
    counts = Counter(float(f"{rate:.{_DIGITS}g}") for rate in rates if isinstance(rate, int | float))
    return tuple(sorted(counts.items(), reverse=True))


def other_rates(rows: Sequence[Row]) -> str | None:
    """A sentence about the recipes that were trained for other numbers of epochs at the learning rates than the recipe
    to which their difference is given, by more than 5 % of the epochs; None where there are none."""
    label = next((row.against.baseline for row in rows if row.against is not None), None)
    baseline = next((row for row in rows if row.label == label), None)
    if baseline is None:
        return None
    expected = epochs_by_rate(baseline)
    groups: dict[Epochs, list[str]] = {}
    for row in rows:
        found = epochs_by_rate(row)
        if row.against is not None and found and expected and _apart(found, expected):
            groups.setdefault(found, []).append(row.label)
    if not groups:
        return None
    others = "; ".join(f"{_listed(labels)} ({_in_words(epochs)})" for epochs, labels in groups.items())
    return (
        f"not only the methods differ from {label} ({_in_words(expected)}), but the epochs at each learning rate too, "
        f"in: {others}"
    )


def _apart(one: Epochs, other: Epochs) -> bool:
    first, second = Counter(dict(one)), Counter(dict(other))
    moved = max((first - second).total(), (second - first).total())
    return moved > _NEGLIGIBLE * max(first.total(), second.total())


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _LABELS} more" if len(labels) > _LABELS else ""
    return ", ".join(labels[:_LABELS]) + more


def _in_words(epochs: Epochs) -> str:
    """``67 at 0.05, 12 at 0.005``."""
    if len(epochs) > _RATES:
        return f"{sum(count for _, count in epochs)} from {epochs[0][0]:g} to {epochs[-1][0]:g}"
    return ", ".join(f"{count} at {rate:g}" for rate, count in epochs)
