"""What is found in a fresh network by comparing tensors holds when it has been trained."""

import pytest
import torch
from torch import Tensor, nn

from smskd.models import adapt
from smskd.models.as_trained import as_trained
from smskd.models.dry_run import preserve_state


class Normed(nn.Module):
    """A batch norm, which does nothing in a fresh network, between the mean of the last map and the last layer."""

    def __init__(self, *, zeros: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 5)
        self.other = nn.Linear(8, 5)
        if zeros:
            for weight in (*self.head.parameters(), *self.other.parameters()):
                nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x).mean(dim=(2, 3))))


class TwoHeads(Normed):
    """Its logits are those of two layers together."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).mean(dim=(2, 3))
        return (self.head(x) + self.other(x)) / 2


def test_a_norm_in_front_of_the_classifier_of_a_fresh_network() -> None:
    roles = adapt(Normed(), torch.zeros(1, 3, 16, 16)).roles
    assert roles is not None
    assert not roles.mean_pooled


def test_two_heads_of_zeros_are_no_single_classifier() -> None:
    assert adapt(TwoHeads(zeros=True), torch.zeros(1, 3, 16, 16)).classifier is None


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_as_before(fails: bool) -> None:
    model = Normed(zeros=True)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    versions = [weight._version for weight in model.parameters()]
    images = torch.randn(4, 3, 16, 16)

    def run() -> Tensor:
        if fails:
            raise ValueError("not in train mode")
        return model(images)

    with preserve_state(model), as_trained(model, run):
        assert not model.norm.training
        assert all(not torch.equal(value, state[name]) for name, value in model.named_parameters() if "norm" in name)
        assert bool(model.head.weight.any())
        if not fails:
            values = model.body[:2](images)
            torch.testing.assert_close(values.mean((0, 2, 3)), model.body[1].bias, atol=1e-4, rtol=0)  # type: ignore[arg-type]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [weight._version for weight in model.parameters()] == versions, "autograd sees no change"
    assert model.training
    assert model.norm.momentum == 0.1
