"""Paired differences and their intervals, against values worked out by hand and from tables of Student's t."""

from pathlib import Path

import pytest

from smskd.analysis.compare import Row, compare
from smskd.analysis.difference import PairedDifference
from smskd.analysis.paired import conclusion, paired_difference, with_differences
from smskd.analysis.significance import bootstrap_interval, half_width, holm, t_test
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


def test_the_p_value_of_a_t_test_against_tables() -> None:
    # t = 2 / (1 / sqrt(3)) = 3.4641 with 2 degrees of freedom: by the closed form 1 - t / sqrt(t^2 + 2)
    t = 2 * 3**0.5
    assert t_test([1.0, 2.0, 3.0]) == pytest.approx(1 - t / (t**2 + 2) ** 0.5)
    assert t_test([-1.0, -2.0, -3.0]) == t_test([1.0, 2.0, 3.0])
    assert t_test([-1.0, 1.0]) == pytest.approx(1.0)
    assert t_test([1.0]) is None
    assert t_test([1.0, 1.0]) is None


def test_the_bootstrap_interval_brackets_the_mean_and_is_always_the_same() -> None:
    values = [0.5, 1.0, 1.5, 2.0, 0.8, 1.1]
    found = bootstrap_interval(values)
    assert found is not None
    low, high = found
    assert min(values) < low < sum(values) / 6 < high < max(values)
    assert bootstrap_interval(values) == found
    half = half_width(values)
    assert half is not None
    assert 0.5 * half < (high - low) / 2 < half  # narrower than Student's for a few values, of the same order
    assert bootstrap_interval([1.0, 1.0]) == (1.0, 1.0)
    assert bootstrap_interval([1.0]) is None


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 3, 0.02 * 2, 0.04 * 1; each at least the one before.
    assert holm([0.04, 0.01, None, 0.02]) == pytest.approx([0.04, 0.03, None, 0.04])
    assert holm([0.03, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None]) == [None]


def test_differences_to_a_baseline_are_corrected_for_their_number(tmp_path: Path) -> None:
    plain = {0: 60.0, 1: 62.0, 2: 65.0}
    shifted = {
        "kd": {0: 61.0, 1: 64.0, 2: 68.0},
        "at": {0: 60.5, 1: 61.0, 2: 65.5},
        "alone": {7: 60.0},
    }
    compared, notes = with_differences(rows(tmp_path, {"plain": plain, **shifted}), "plain")
    by_name = {row.name: row.against for row in compared}
    assert by_name["plain"] is None
    assert by_name["alone"] is None
    assert notes == ["alone and plain have no seed in common, so that no runs can be paired"]
    kd, at = by_name["kd"], by_name["at"]
    assert kd is not None
    assert at is not None
    assert kd.mean == pytest.approx(2.0)
    assert kd.p is not None
    assert kd.corrected_p == pytest.approx(2 * kd.p)
    assert at.p is not None
    assert at.corrected_p == pytest.approx(at.p)
    assert kd.interval is not None
    assert kd.interval[0] >= 1.0
    assert kd.interval[1] <= 3.0


def test_an_unknown_baseline_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recipe of the comparison is called 'plane'; did you mean 'plain'"):
        with_differences(rows(tmp_path, {"plain": {0: 60.0}}), "plane")
