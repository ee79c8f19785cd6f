"""The fixed choice of rows in which each class has its share."""

import pytest
import torch

from smskd.data.counter_rng import mix_tensor
from smskd.data.stratified import stratified_mask


@pytest.mark.parametrize(("samples", "classes", "wanted"), [(0, 3, 0), (10, 3, 4), (200, 7, 200), (300, 90, 77)])
def test_of_each_class_the_rows_with_the_smallest_hashes(samples, classes, wanted):
    labels = torch.randint(classes, (samples,), generator=torch.Generator().manual_seed(samples))
    chosen = stratified_mask(labels, classes, wanted, 5, 1)
    rank = mix_tensor(5, 1, torch.arange(samples))
    assert int(chosen.sum()) == wanted
    for label in range(classes):
        of_class = labels == label
        share = int((chosen & of_class).sum())
        assert abs(share - wanted * int(of_class.sum()) / max(1, samples)) < 1
        if 0 < share < int(of_class.sum()):
            assert int(rank[chosen & of_class].max()) < int(rank[~chosen & of_class].min())


def test_many_classes_do_not_take_a_pass_over_all_rows_each(monkeypatch):
    calls = []
    nonzero = torch.Tensor.nonzero
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda self: calls.append(self) or nonzero(self))
    equal = torch.Tensor.__eq__
    monkeypatch.setattr(torch.Tensor, "__eq__", lambda self, other: calls.append(self) or equal(self, other))
    stratified_mask(torch.arange(1000) % 500, 500, 100)
    assert len(calls) < 10
