"""The measures of an analysis, against values worked out by hand."""

import math

import pytest
import torch

from smskd.diagnostics.agreement import agreement
from smskd.diagnostics.calibration import calibration
from smskd.diagnostics.confidence import true_class_probabilities
from smskd.diagnostics.similarity import linear_cka
from smskd.diagnostics.transfer import transfer
from smskd.ops.divergences import true_class_probability


def logits_of(*probabilities: list[float]) -> torch.Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


def test_calibration_by_hand() -> None:
    # Confidences 0.9 (right), 0.85 (wrong), 0.6 (right), 0.55 (right), in two bins: (0, 0.5] and (0.5, 1].
    logits = logits_of([0.9, 0.1], [0.85, 0.15], [0.4, 0.6], [0.55, 0.45])
    y = torch.tensor([0, 1, 1, 0])
    found = calibration(logits, y, bins=4)  # (0.5, 0.75] has 0.6 and 0.55, (0.75, 1] has 0.9 and 0.85
    assert [each.images for each in found.bins] == [0, 0, 2, 2]
    assert found.bins[2].confidence == pytest.approx(0.575)
    assert (found.bins[2].accuracy, found.bins[3].accuracy) == (1.0, 0.5)
    assert found.ece == pytest.approx(0.5 * (1 - 0.575) + 0.5 * (0.875 - 0.5))
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.15) + math.log(0.6) + math.log(0.55)) / 4)
    assert calibration(logits, y).ece == pytest.approx((0.1 + 0.85 + 0.4 + 0.45) / 4)  # 15 bins: each alone


def test_a_confidence_at_the_end_of_a_bin_belongs_to_it() -> None:
    found = calibration(torch.tensor([[0.0, 0.0]]), torch.tensor([0]), bins=2)
    assert [each.images for each in found.bins] == [1, 0]


def test_agreement_by_hand() -> None:
    student, teacher = logits_of([0.5, 0.5], [0.2, 0.8]), logits_of([0.25, 0.75], [0.1, 0.9])
    found = agreement(student, teacher)
    first = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    second = 0.1 * math.log(0.1 / 0.2) + 0.9 * math.log(0.9 / 0.8)
    assert found.kl == pytest.approx((first + second) / 2)
    assert found.top1 == 50.0  # a tie is the first class


def test_true_class_probabilities_by_hand() -> None:
    logits = logits_of([0.05, 0.95], [0.45, 0.55], [0.15, 0.85], [1 - 1e-12, 1e-12])
    found = true_class_probabilities(logits, torch.tensor([0, 1, 1, 0]))
    assert found.mean == pytest.approx((0.05 + 0.55 + 0.85 + 1.0) / 4)
    assert found.quantiles[2] == pytest.approx(0.7)
    assert found.histogram == pytest.approx((0.25, 0, 0, 0, 0, 0.25, 0, 0, 0.25, 0.25))
    values = true_class_probability(logits.double(), torch.tensor([0, 1, 1, 0])).sort().values / (4 * found.mean)
    weight = (values[0], 0, 0, 0, 0, values[1], 0, 0, values[2], values[3])
    assert found.weight == pytest.approx([float(share) for share in weight])


def test_cka_ignores_rotation_and_scale_and_nothing_else() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 4, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1.0)
    assert linear_cka(x, x * torch.tensor([100.0, 1, 1, 1])) < 0.6
    assert linear_cka(x, torch.ones(50, 2)) == 0.0
    other = torch.randn(50, 3, dtype=torch.float64)
    assert linear_cka(x, other) == pytest.approx(linear_cka(other, x))
    assert linear_cka(x, other) < 0.3


def test_cka_of_two_vectors_is_the_squared_correlation() -> None:
    x, y = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [3.0], [2.0]])
    assert linear_cka(x, y) == pytest.approx(0.25)


def test_transfer_by_hand() -> None:
    before = torch.tensor([1, 1, 1, 0, 0, 1]).bool()
    predicted = torch.tensor([0, 1, 0, 1, 0, 1])
    found = transfer(before, predicted, torch.tensor([0, 0, 1, 1, 1, 1]), ["cat", "dog"])
    assert (found.all.retained, found.all.forgotten, found.all.learned, found.all.never_known) == (2, 2, 1, 1)
    assert (found.by_class["cat"].retained, found.by_class["cat"].forgotten) == (1, 1)
    assert (found.by_class["dog"].forgotten, found.by_class["dog"].never_known) == (1, 1)
    assert found.forgotten == (1, 2)
    assert found.mistaken_for == (1, 0)
    assert found.p == 1.0  # 2 of 3 discordant pairs: 2 * (1 + 3) / 8, at most 1
    assert not found.negative


@pytest.mark.parametrize(("forgotten", "learned", "negative"), [(6, 0, True), (5, 0, False), (0, 6, False)])
def test_negative_transfer_is_more_than_noise(forgotten: int, learned: int, negative: bool) -> None:
    before = torch.tensor([1] * forgotten + [0] * learned + [1] * 20).bool()
    predicted = torch.tensor([1] * forgotten + [0] * learned + [0] * 20)
    found = transfer(before, predicted, torch.zeros(len(before), dtype=torch.int64), ["only"])
    assert found.p == pytest.approx(2 * 0.5 ** (forgotten + learned))
    assert found.negative is negative


def test_classes_of_one_name_stay_apart() -> None:
    right = torch.tensor([True, True])
    found = transfer(right, torch.tensor([0, 1]), torch.tensor([0, 1]), ["crane", "crane"])
    assert list(found.by_class) == ["crane", "crane (1)"]
