"""All charts of a comparison with headings and captions; each is there only where the runs have what it needs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from smskd.analysis.compare import Row
from smskd.analysis.series import Group, axes, followers, groups, has_orders
from smskd.report.axis_chart import axis_chart, several_stage_counts, stage_count_chart
from smskd.report.comparison_charts import comparison_chart, curves_chart, curves_split
from smskd.report.cost_chart import Cost, cost_chart, costs
from smskd.report.figure import Figure
from smskd.report.gain_chart import gain_chart
from smskd.report.gallery_chart import gallery_chart
from smskd.report.marks import MOST_LINES
from smskd.report.orders_chart import orders_chart

_LONG_LABEL = 32
"""Characters of a label from which it may be cut in a chart."""

_SEEDS = "Test accuracy after the last epoch. Diamond and line: mean and standard deviation. Dots: the seeds."
_GAINS = (
    "Differences are paired by seed. Diamond: mean, filled where p is below 0.05 after Holm's correction for the "
    "number of recipes. Thick line: 95 % bootstrap interval; thin line: Student's, the better one for fewer than about "
    "ten seeds. Dots: the pairs of runs."
)
_GALLERY = "Line and band: mean over the seeds and one standard deviation. Numbers: test accuracy after the last epoch."
_ORDERS = (
    "Each cell is the mean over all runs in which the method of the row is directly followed by that of the column, "
    "whatever comes before and after; a run with more than two stages counts in several cells."
)
_AXIS = "Test accuracy after the last epoch: mean over the seeds, and one standard deviation to either side."
_STAGES = (
    "Points: recipes, mean over the seeds with one standard deviation; lines: their means. Training accuracy is that "
    "during the last epoch, with augmentation."
)
_COST = {
    "seconds": "Mean over the seeds, as measured on the machine of each run; stages from a store count with the time "
    "that their training took.",
    "epochs": "Epochs of a run, those of stages from a store included.",
}
_BEST = " Filled: no recipe of equal or lower cost is more accurate."


def comparison_figures(rows: Sequence[Row]) -> list[Figure]:
    """The figures of a comparison.

    Args:
        rows: the comparison; gains are shown where it has differences to a baseline
            (:func:`smskd.analysis.paired.with_differences`).
    """
    return [*_accuracies(rows), *_by_group(rows), *_costs(rows)]


def numbered(rows: Sequence[Row]) -> list[Row]:
    """The rows with numbers before their labels where charts have no space for these: ``3. fitnet,ends_after=56,...``.

    Args:
        rows: the comparison.
    """
    if max(len(row.label) for row in rows) <= _LONG_LABEL:
        return list(rows)
    new = {row.label: f"{number}. {row.label}" for number, row in enumerate(rows, start=1)}
    return [
        replace(
            row,
            label=new[row.label],
            baseline=row.baseline and new[row.baseline],
            against=row.against and replace(row.against, name=new[row.label], baseline=new[row.against.baseline]),
        )
        for row in rows
    ]


def _accuracies(rows: Sequence[Row]) -> Iterator[Figure]:
    yield Figure("comparison", "Accuracy of each recipe", comparison_chart(rows), _SEEDS)
    baselines = [row.against.baseline for row in rows if row.against is not None]
    if baselines:
        yield Figure("gains", f"Gains against {baselines[0]}", gain_chart(rows), _GAINS)
    split = curves_split(rows)
    heading = f"{split.capitalize()} accuracy over the epochs"
    if len(rows) > MOST_LINES:
        grey = f" Grey: {baselines[0]}." if baselines else ""
        yield Figure("curves", heading, gallery_chart(rows, split), _GALLERY + grey)
    else:
        yield Figure("curves", heading, curves_chart(rows), "Mean over the seeds.")


def _by_group(rows: Sequence[Row]) -> Iterator[Figure]:
    """The figures that join or average rows: one of each kind for each student, teacher and data set."""
    found = groups(rows)
    for number, (group, own) in enumerate(found.items(), start=1):
        place = f"-{number}" if len(found) > 1 else ""
        where = f": {_words(group)}" if len(found) > 1 else ""
        if has_orders(own):
            yield Figure(f"orders{place}", f"Orders of methods{where}", orders_chart(followers(own)), _ORDERS)
        for position, axis in enumerate(axes(own), start=1):
            name = f"axis{place}-{position}"
            yield Figure(name, f"Accuracy over {axis.key}{where}", axis_chart(axis), _AXIS)
        if several_stage_counts(own):
            distilled = [row for row in own if not row.plain]
            heading = f"Accuracy over the number of stages{where}"
            yield Figure(f"stages{place}", heading, stage_count_chart(distilled), _STAGES)


def _costs(rows: Sequence[Row]) -> Iterator[Figure]:
    headings: dict[Cost, str] = {
        "seconds": "Accuracy over the time of training",
        "epochs": "Accuracy over the epochs of a run",
    }
    for cost in costs(rows):
        yield Figure(f"cost-{cost}", headings[cost], cost_chart(rows, cost), _COST[cost] + _BEST)


def _words(group: Group) -> str:
    student, teacher, data = group
    return f"{student}{f' from {teacher}' if teacher else ''}, {data}"
