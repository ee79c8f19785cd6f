"""The figures of speed in README.md are those of the pages in benchmarks/."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMON = {"Stage": "1", "Batch": "64"}
"""Stated in README below the table, not in its columns."""


def tables(text: str) -> list[list[dict[str, str]]]:
    """The Markdown tables of a page, each a list of rows by column title; bold marks are removed."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        titles, _, *rows = [
            [cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in block.splitlines()
        ]
        found.append([dict(zip(titles, row, strict=True)) for row in rows])
    return found


def test_the_figures_of_speed_are_measured_ones() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (speeds,) = [rows for rows in tables(readme) if "Ratio" in rows[0]]
    pages = set()
    for row in speeds:
        (page,) = re.findall(r"\]\((benchmarks/\S+\.md)\)", row.pop("Machine"))
        pages.add(page)
        measured = tables((ROOT / page).read_text(encoding="utf-8"))[0]
        wanted = {**row, **COMMON}
        assert wanted in [{title: line[title] for title in wanted} for line in measured], f"not in {page}: {row}"
    assert pages == {"benchmarks/RESULTS.md", "benchmarks/RESULTS-gpu.md"}
    assert "first stage, in batches of 64" in readme


def test_a_row_is_read_by_its_titles() -> None:
    text = "a\n\n| A | B |\n| --- | ---: |\n| x | **2.50** |\n| y | 3 |\n\nb\n\n| C |\n| --- |\n| z |\n"
    assert tables(text) == [[{"A": "x", "B": "2.50"}, {"A": "y", "B": "3"}], [{"C": "z"}]]
