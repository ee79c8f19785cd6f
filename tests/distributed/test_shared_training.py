"""Two processes with half of each batch do what one process does with the whole batch, up to rounding."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from tests.support.jobs import run_together
from tests.support.shared_training import Trained, cases, trained, unshared

LOSSES, UPDATES = 5e-5, 5e-3
"""Relative differences that rounding makes in a few steps of float32; measured are 1.4e-5 and 1.2e-3 at most. What is
not shared makes larger ones: :func:`test_what_is_not_shared_shows`."""

NOTHING = 1e-7
"""A loss that is nothing but rounding: a student is its reference at the start of a stage."""

ROUNDING = 1e-6
"""Updates that are nothing else: a batch norm follows a bias."""


@pytest.fixture(scope="module")
def by_two(shared_folder: Path) -> Mapping[str, Trained]:
    """What two processes have trained, once for all processes of the tests."""
    file = shared_folder / "two" / "results.pt"
    file.parent.mkdir(exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if not file.exists():
            run_together("tests.support.shared_training", str(file.with_suffix(".new")))
            file.with_suffix(".new").rename(file)
    return {name: Trained(**values) for name, values in torch.load(file, weights_only=False).items()}


@pytest.mark.parametrize("name", cases())
def test_two_processes_are_one(name: str, by_two: Mapping[str, Trained]) -> None:
    one, two = trained(cases()[name]), by_two[name]
    for alone, shared in zip(one.losses, two.losses, strict=True):
        assert shared == pytest.approx(alone, rel=LOSSES, abs=NOTHING)
    assert two.accuracies == one.accuracies
    assert two.updates.keys() == one.updates.keys()
    for part, update in one.updates.items():
        largest = float(update.abs().max())
        assert float((two.updates[part] - update).abs().max()) <= UPDATES * largest + ROUNDING, part


@pytest.mark.parametrize("name", unshared())
def test_what_is_not_shared_shows(name: str, by_two: Mapping[str, Trained]) -> None:
    one, two = trained(unshared()[name]), by_two[name]
    differences = [abs(two.losses[0][part] - value) / value for part, value in one.losses[0].items()]
    assert max(differences) > 10 * LOSSES
