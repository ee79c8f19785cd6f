"""Two processes with half of each batch do what one process does with the whole batch, up to rounding."""

from collections.abc import Mapping

import pytest
import torch

from tests.support.jobs import run_together
from tests.support.shared_training import Trained, cases, trained

LOSSES, UPDATES = 2e-4, 2e-2
"""Relative differences that rounding makes in a few steps of float32. Batch norms that are not synchronised, or a term
that sees half of the batch, make larger ones: see :func:`test_that_they_differ_where_nothing_is_shared`."""


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Trained]:
    file = tmp_path_factory.mktemp("two") / "results.pt"
    run_together("tests.support.shared_training", str(file))
    found: Mapping[str, Trained] = torch.load(file, weights_only=False)
    return found


@pytest.mark.parametrize("name", cases())
def test_two_processes_are_one(name: str, by_two: Mapping[str, Trained]) -> None:
    one, two = trained(cases()[name]), by_two[name]
    for alone, shared in zip(one.losses, two.losses, strict=True):
        assert shared == pytest.approx(alone, rel=LOSSES)
    assert two.accuracies == one.accuracies
    assert two.updates.keys() == one.updates.keys()
    for part, update in one.updates.items():
        largest = float(update.abs().max())
        assert float((two.updates[part] - update).abs().max()) <= UPDATES * largest + 1e-7, part
