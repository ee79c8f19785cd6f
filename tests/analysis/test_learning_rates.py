"""A comparison says where recipes differ in the epochs at each learning rate, not in their methods alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from smskd.analysis.compare import Row, compare
from smskd.analysis.difference import PairedDifference
from smskd.analysis.learning_rates import epochs_by_rate, other_rates
from smskd.analysis.tables import explanations
from smskd.runs.reader import load_run
from tests.support.run_folders import write_run


def rows(folder: Path, rates: dict[str, list[float | None]], baseline: str = "base") -> list[Row]:
    """A row for each recipe, with these learning rates and a difference to the baseline."""
    found = []
    for name, of_epochs in rates.items():
        run = load_run(write_run(folder / name, name=name, epochs_per_stage=2))
        (row,) = compare([replace(run, metrics=tuple({"learning_rate": rate} for rate in of_epochs))])
        difference = PairedDifference(name, baseline, (0,), (1.0,), 1.0, None)
        found.append(row if name == baseline else replace(row, against=difference))
    return found


BASE = [0.05] * 10 + [0.005] * 10


def test_epochs_by_rate(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, {"base": [0.005, 0.05, 0.0050000001, 0.05, None]})
    assert epochs_by_rate(row) == ((0.05, 2), (0.005, 2))


@pytest.mark.parametrize(
    "other",
    [
        [0.05, 0.005] * 10,  # in another order
        [0.05] * 11 + [0.005] * 9,  # as shares of few epochs are rounded
        [None] * 20,  # nothing is known
    ],
)
def test_equal_numbers_of_epochs(tmp_path: Path, other: list[float | None]) -> None:
    assert other_rates(rows(tmp_path, {"base": BASE, "other": other})) is None


def test_other_numbers_of_epochs(tmp_path: Path) -> None:
    found = rows(
        tmp_path, {"base": BASE, "same": BASE, "later": [0.05] * 12 + [0.005] * 8, "longer": [*BASE, 0.005, 0.005]}
    )
    sentence = other_rates(found)
    assert sentence == (
        "not only the methods differ from base (10 at 0.05, 10 at 0.005), but the epochs at each learning rate too, "
        "in: later (12 at 0.05, 8 at 0.005); longer (10 at 0.05, 12 at 0.005)"
    )
    assert explanations(found)[-1] == sentence


def test_many_rates_and_recipes_are_shortened(tmp_path: Path) -> None:
    cosine = [0.05 - 0.002 * epoch for epoch in range(20)]
    found = other_rates(rows(tmp_path, {"base": BASE, "a": cosine, "b": cosine, "c": cosine, "d": cosine, "e": cosine}))
    assert found is not None
    assert found.endswith("in: a, b, c and 2 more (20 from 0.05 to 0.012)")


def test_without_a_baseline(tmp_path: Path) -> None:
    found = rows(tmp_path, {"base": BASE, "other": [0.05] * 20})
    assert other_rates(found[1:]) is None
    assert other_rates([replace(row, against=None) for row in found]) is None
