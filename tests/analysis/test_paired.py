"""Paired differences and their intervals, against values worked out by hand and from tables of Student's t."""

from pathlib import Path

import pytest

from smskd.analysis.compare import Row, compare
from smskd.analysis.paired import PairedDifference, conclusion, half_width, paired_difference
from smskd.errors import UserError
from smskd.runs.reader import find_runs
from tests.support.run_folders import write_run


def rows(folder: Path, top1: dict[str, dict[int, float]]) -> list[Row]:
    """A row for each recipe, from its accuracy by seed."""
    paths = [
        write_run(folder / name / str(seed), name=name, seed=seed, top1=accuracy)
        for name, seeds in top1.items()
        for seed, accuracy in seeds.items()
    ]
    return compare(find_runs(paths))


def difference(name: str, baseline: str, mean: float, half: float | None, seeds: int = 4) -> PairedDifference:
    return PairedDifference(name, baseline, tuple(range(seeds)), (mean,) * seeds, mean, half)


def test_runs_are_paired_by_seed_in_whatever_order(tmp_path: Path) -> None:
    kd, plain = rows(tmp_path, {"kd": {2: 68.0, 0: 61.0, 1: 64.0}, "plain": {0: 60.0, 1: 62.0, 2: 65.0, 3: 10.0}})
    found = paired_difference(kd, plain)
    assert (found.name, found.baseline, found.seeds) == ("kd", "plain", (0, 1, 2))
    assert found.values == pytest.approx((1.0, 2.0, 3.0))
    assert found.mean == pytest.approx(2.0)
    # s = 1, n = 3, and t(0.975, 2) = 4.303 in every table: 4.303 / sqrt(3)
    assert found.half_width == pytest.approx(2.4843, abs=5e-4)
    assert found.sign == 0


def test_rows_without_a_common_seed(tmp_path: Path) -> None:
    kd, plain = rows(tmp_path, {"kd": {0: 60.0}, "plain": {1: 60.0}})
    with pytest.raises(UserError, match="kd and plain have no seed in common"):
        paired_difference(kd, plain)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 3.0], 12.706),  # s = sqrt(2), n = 2: t(0.975, 1) = 12.706
        ([0.0, 0.0, 0.0, 4.0], 3.182),  # s = 2, n = 4: t(0.975, 3) = 3.182
        ([-3.0, -1.0, 1.0, 3.0, 5.0, -3.0, -1.0, 1.0, 3.0, 5.0], 2.1332),  # s = sqrt(80 / 9), t(0.975, 9) = 2.262
        ([2.0, 2.0, 2.0], 0.0),
    ],
)
def test_intervals_against_tables(values: list[float], expected: float) -> None:
    assert half_width(values) == pytest.approx(expected, abs=1e-3)


def test_one_pair_has_no_interval(tmp_path: Path) -> None:
    kd, plain = rows(tmp_path, {"kd": {0: 62.0}, "plain": {0: 60.0}})
    found = paired_difference(kd, plain)
    assert (found.mean, found.half_width, found.sign) == (2.0, None, 0)
    assert conclusion([found]) == "Nothing can be concluded from a single seed."


@pytest.mark.parametrize(
    ("mean", "half", "sign"),
    [(1.0, 0.5, 1), (-1.0, 0.5, -1), (1.0, 1.5, 0), (-1.0, 1.5, 0), (1.0, 1.0, 0), (0.0, 0.0, 0), (0.5, 0.0, 1)],
)
def test_a_sign_needs_an_interval_without_zero(mean: float, half: float, sign: int) -> None:
    assert difference("kd", "plain", mean, half).sign == sign


def test_the_conclusion_follows_from_the_intervals() -> None:
    found = [
        difference("kd", "plain", 3.0, 1.0),
        difference("joint", "plain", 4.0, 1.0),
        difference("fitnet-kd", "plain", 3.5, 1.0),
        difference("fitnet", "plain", 0.5, 1.0),
        difference("joint", "kd", 1.0, 0.5),
        difference("fitnet-kd", "kd", 0.5, 0.6),
        difference("fitnet", "kd", -2.5, 0.6),
    ]
    assert conclusion(found) == (
        "At 95 % confidence over 4 seeds: kd, joint and fitnet-kd are more accurate than plain; fitnet cannot be told "
        "apart from plain; joint is more accurate than kd; fitnet is less accurate than kd; fitnet-kd cannot be told "
        "apart from kd."
    )
    flipped = [difference("kd", "plain", -3.0, 1.0), difference("joint", "plain", -4.0, 1.0, seeds=3)]
    assert conclusion(flipped) == "At 95 % confidence over 3 to 4 seeds: kd and joint are less accurate than plain."
