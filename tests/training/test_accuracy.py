"""Accuracy and transitions, counted by hand."""

import pytest
import torch
from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.training.accuracy import Transitions, evaluate, hits, percent, transitions

LOGITS = torch.tensor(
    [
        [9.0, 8.0, 7.0, 6.0, 5.0, 4.0],
        [9.0, 8.0, 7.0, 6.0, 5.0, 4.0],
        [4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        [0.0, 0.0, 0.0, 3.0, 0.0, 1.0],
    ]
)
Y = torch.tensor([0, 5, 1, 3])


def test_hits() -> None:
    first, five = hits(LOGITS, Y)
    assert first.tolist() == [True, False, False, True]
    assert five.tolist() == [True, False, True, True]


def test_fewer_than_five_classes() -> None:
    first, five = hits(LOGITS[:, :3], torch.tensor([0, 2, 2, 0]))
    assert first[:3].tolist() == [True, False, True]
    assert five.all()


class Table(nn.Module):
    """Logits from a table, and a batch norm whose statistics must not change."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        return self.logits[x[:, 0].long()]


def batches(y: Tensor = Y) -> list[Batch]:
    x = torch.arange(4.0)[:, None]
    return [Batch(x[:3], y[:3]), Batch(x[3:], y[3:])]


@pytest.mark.parametrize("training", [True, False])
def test_evaluate(training: bool) -> None:
    model = Table(LOGITS).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    accuracy = evaluate(model, batches(), classes=6)
    assert accuracy.correct.tolist() == [True, False, False, True]
    assert (accuracy.top1, accuracy.top5) == (50.0, 75.0)
    assert model.training == training
    assert model.norm.training == training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_no_top5_with_five_classes_or_fewer() -> None:
    assert evaluate(Table(LOGITS[:, :5]), batches(torch.zeros(4, dtype=torch.int64)), classes=5).top5 is None
    assert evaluate(Table(LOGITS), batches(), classes=6).top5 is not None


def test_percent() -> None:
    assert percent(torch.tensor([True, False, True])) == pytest.approx(200 / 3)
    assert percent(torch.zeros(0, dtype=torch.bool)) == 0


def test_transitions_by_hand() -> None:
    before = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0, 0, 0]).bool()
    after = torch.tensor([1, 1, 1, 1, 0, 0, 1, 0, 0, 0]).bool()
    assert transitions(before, after) == Transitions(retained=4, forgotten=2, learned=1, never_known=3)
    assert transitions(before, before) == Transitions(retained=6, forgotten=0, learned=0, never_known=4)
    assert transitions(after, ~after) == Transitions(retained=0, forgotten=5, learned=5, never_known=0)
