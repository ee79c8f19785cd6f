"""The page of a sweep, in its folder."""

from pathlib import Path

from smskd.analysis.compare import compare
from smskd.analysis.paired import with_differences
from smskd.errors import UserError
from smskd.report.page import PAGE, write_report
from smskd.runs.reader import find_finished


def write_sweep_page(folder: Path, baseline: str | None) -> tuple[str, ...]:
    """Writes ``report.html``, the comparison of the finished runs, into the folder of a sweep.

    Args:
        folder: of the sweep.
        baseline: name of the runs from which differences are taken; None: there are none.

    Returns:
        A sentence for everything that is missing. The runs of a sweep are worth more than its page: whatever is wrong
        with that is told here, not raised.
    """
    try:
        runs, remarks = find_finished([folder])
    except UserError:  # no run is finished
        return ()
    rows = compare(runs)
    if baseline is not None:
        try:
            rows, unpaired = with_differences(rows, baseline)
            remarks += unpaired
        except UserError as error:  # its runs are not finished on this machine
            remarks.append(str(error))
    try:
        return write_report(runs, folder / PAGE, remarks, rows=rows, follow_links=False).notes
    except UserError as error:
        return (str(error),)
