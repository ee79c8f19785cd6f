"""All charts of one run. Each is a Vega-Lite specification, for the page, for a notebook and for SVG alike."""

from smskd.report.accuracy_chart import accuracy_chart
from smskd.report.forgetting_chart import forgetting_chart, has_transitions
from smskd.report.loss_chart import loss_chart
from smskd.report.marks import Chart
from smskd.report.outcome_chart import outcome_chart, stages_with_outcomes
from smskd.runs.reader import Run


def run_charts(run: Run) -> dict[str, Chart]:
    """The charts of a run by the names of their files.

    Args:
        run: a finished run.

    Returns:
        ``accuracy`` and ``losses``; with several stages also ``outcomes`` and ``forgetting``.
    """
    charts = {"accuracy": accuracy_chart(run), "losses": loss_chart(run)}
    if stages_with_outcomes(run):
        charts["outcomes"] = outcome_chart(run)
    if has_transitions(run):
        charts["forgetting"] = forgetting_chart(run)
    return charts
