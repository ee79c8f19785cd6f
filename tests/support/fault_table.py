"""The table of a campaign of faults, in the documentation."""

import os
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch

from tests.support.fault_scenarios import Verdict

BEGIN, END = "<!-- table of faults: begin -->", "<!-- table of faults: end -->"
_COLUMNS = ("survived", "told", "lost")


class Tally:
    """Counts the verdicts on each kind of fault."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self.lost: list[str] = []

    def add(self, kind: str, name: str, verdict: Verdict) -> None:
        """Counts a verdict; ``name`` is that of the trial."""
        self._counts.setdefault(kind, Counter())[verdict.kind] += 1
        if verdict.kind == "lost":
            self.lost.append(f"{kind}, {name}: {verdict.detail}")

    def markdown(self, seconds: float, skipped: int) -> str:
        """The table, with the machine and versions it is from.

        Args:
            seconds: that the campaign took.
            skipped: trials for which there was no time.
        """
        rows = [
            "| Fault | Tried | Survived | Told in a line | Lost |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(self._row(kind, counts) for kind, counts in self._counts.items()),
            self._row("**all**", sum(self._counts.values(), Counter())),
        ]
        left = f"; {skipped} more were left out for want of time" if skipped else ""
        return "\n".join(rows) + f"\n\nFrom `make faults` in {seconds / 60:.0f} minutes{left}, with {versions()}.\n"

    @staticmethod
    def _row(kind: str, counts: Counter[str]) -> str:
        return f"| {kind} | {counts.total()} | " + " | ".join(str(counts[name]) for name in _COLUMNS) + " |"


def versions() -> str:
    """The machine and what runs on it."""
    return (
        f"smskd {version('smskd')}, PyTorch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores"
    )


def write_table(page: Path, table: str) -> None:
    """Replaces the table in a page, between the comments that mark it."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")
