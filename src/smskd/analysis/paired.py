"""Differences of two recipes, paired over their seeds, with confidence intervals."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from smskd.analysis.compare import Row, same_data
from smskd.analysis.difference import PairedDifference
from smskd.analysis.significance import bootstrap_interval, half_width, holm, t_test
from smskd.errors import UserError, nearest


def paired_difference(row: Row, baseline: Row) -> PairedDifference:
    """The difference in top-1 accuracy of the last epoch, over the seeds that both rows have.

    Args:
        row: a recipe over its seeds.
        baseline: the recipe that is subtracted.

    Raises:
        UserError: they have other images, or no seed in common.
    """
    if not same_data(row, baseline):
        raise UserError(f"{row.label} and {baseline.label} have other images, so that no runs can be paired")
    own = dict(zip(row.seeds, row.top1_last.values, strict=True))
    other = dict(zip(baseline.seeds, baseline.top1_last.values, strict=True))
    seeds = tuple(sorted(own.keys() & other.keys()))
    if not seeds:
        raise UserError(f"{row.label} and {baseline.label} have no seed in common, so that no runs can be paired")
    values = tuple(own[seed] - other[seed] for seed in seeds)
    return PairedDifference(row.label, baseline.label, seeds, values, fmean(values), half_width(values))


def with_differences(rows: Sequence[Row], baseline: str) -> tuple[list[Row], list[str]]:
    """The rows, each with its paired difference to one of them, as :attr:`Row.against`.

    Args:
        rows: the comparison.
        baseline: label of the row that is subtracted from the others.

    Returns:
        The rows, and a sentence for each one that has no pair of runs with the baseline.

    Raises:
        UserError: no row has this label.
    """
    labels = [row.label for row in rows]
    if baseline not in labels:
        raise UserError(f"no recipe of the comparison is called '{baseline}'{nearest(baseline, labels)}")
    subtracted = rows[labels.index(baseline)]
    found: dict[str, PairedDifference] = {}
    notes = []
    for row in rows:
        if row is not subtracted:
            try:
                found[row.label] = _tested(paired_difference(row, subtracted))
            except UserError as error:
                notes.append(str(error))
    corrected = dict(zip(found, holm([each.p for each in found.values()]), strict=True))
    against = {label: replace(each, corrected_p=corrected[label]) for label, each in found.items()}
    return [replace(row, against=against.get(row.label)) for row in rows], notes


def _tested(difference: PairedDifference) -> PairedDifference:
    values = difference.values
    return replace(difference, interval=bootstrap_interval(values), p=t_test(values))


def conclusion(differences: Sequence[PairedDifference]) -> str:
    """A sentence that states which differences are larger than their uncertainty.

    Args:
        differences: at least one; those with the same baseline share a clause for each sign.
    """
    if any(difference.half_width is None for difference in differences):
        return "Nothing can be concluded from a single seed."
    counts = sorted({len(difference.seeds) for difference in differences})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    clauses = [
        _clause(names, sign, baseline)
        for baseline in dict.fromkeys(difference.baseline for difference in differences)
        for sign in (1, -1, 0)
        if (names := [other.name for other in differences if (other.baseline, other.sign) == (baseline, sign)])
    ]
    return f"At 95 % confidence over {seeds} seeds: {'; '.join(clauses)}."


def _clause(names: Sequence[str], sign: int, baseline: str) -> str:
    *first, last = names
    listed = f"{', '.join(first)} and {last}" if first else last
    if sign == 0:
        return f"{listed} cannot be told apart from {baseline}"
    return f"{listed} {'are' if first else 'is'} {'more' if sign > 0 else 'less'} accurate than {baseline}"
