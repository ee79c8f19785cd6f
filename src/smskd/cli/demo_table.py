"""The table of the demo: accuracies, and their paired differences with confidence intervals."""

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from smskd.analysis.compare import Row
from smskd.analysis.difference import PairedDifference
from smskd.analysis.format import difference, percent, spread
from smskd.analysis.tables import common, phrases
from smskd.analysis.visible import one_line


def demo_table(rows: Sequence[Row], differences: Sequence[PairedDifference]) -> Table:
    """A table for a rich console of 80 characters.

    Args:
        rows: the recipes over their seeds.
        differences: between rows; each baseline has a column.
    """
    baselines = list(dict.fromkeys(item.baseline for item in differences))
    by_names = {(item.name, item.baseline): item for item in differences}
    table = Table(
        caption=_caption(rows),
        caption_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("recipe", no_wrap=True)
    for title in ("top-1", *(f"vs {baseline}" for baseline in baselines), "forgotten"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        compared = [_interval(by_names.get((row.label, baseline))) for baseline in baselines]
        table.add_row(escape(one_line(row.label)), spread(row.top1_last), *compared, percent(row.forgotten))
    return table


def _caption(rows: Sequence[Row]) -> str:
    shared = " · ".join([*phrases(common(rows)), "in percent"])
    return escape(
        f"{shared}\n± of top-1: standard deviation over {len(rows[0].seeds)} seeds; ± of a difference: 95 % confidence "
        "interval, paired over the seeds, not corrected for the number of comparisons"
    )


def _interval(item: PairedDifference | None) -> str:
    """The mean difference and half the width of its interval: ``+1.20 ± 0.45``."""
    if item is None:
        return ""
    return difference(item.mean) + ("" if item.half_width is None else f" ± {item.half_width:.2f}")
