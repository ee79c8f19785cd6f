"""The folder of a run, in a process that does not write it."""

from smskd.runs.folder import RunFolder
from smskd.runs.others_folder import OthersFolder

READS = {"lines", "last", "load", "has", "finished", "damages", "stage", "problem", "to"}
"""The first words of the members that write nothing."""


def test_everything_that_writes_is_left_out() -> None:
    members = {name for name in vars(RunFolder) if not name.startswith("_") and name != "path"}
    writing = {name for name in members if name.partition("_")[0] not in READS}
    assert {"save_terms", "append_metrics", "truncate"} <= writing
    assert writing - vars(OthersFolder).keys() == set()
