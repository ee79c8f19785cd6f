"""The line about images that a network does not accept names a size that it does."""

import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.models import adapt, describe
from smskd.models.image_errors import accepted_size


class Pooling(nn.Module):
    """Takes images of 64x64 and larger; of 96x96 and larger in train mode, for an auxiliary head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        nn.functional.avg_pool2d(x, 24 if self.training else 16)
        return self.head(x.mean(dim=(2, 3)))


class Fixed(nn.Module):
    """Takes images of 32x32 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def test_a_larger_size() -> None:
    with pytest.raises(UserError, match=r"images of 3x48x48 .*; it accepts images of 64x64$"):
        adapt(Pooling(), torch.zeros(1, 3, 48, 48))


def test_a_smaller_size() -> None:
    with pytest.raises(UserError, match=r"images of 3x64x64 .*; it accepts images of 32x32$"):
        adapt(Fixed(), torch.zeros(1, 3, 64, 64))


def test_no_size() -> None:
    model = adapt(Fixed(), torch.zeros(1, 3, 32, 32))
    with pytest.raises(UserError, match=r"cannot be multiplied[^;]*$"):
        describe(model, (1, 32, 32))


def test_train_mode_leaves_the_network_as_it_was() -> None:
    model = Pooling().eval()
    mean = model.norm.running_mean
    assert accepted_size(model, (3, 64, 64)) == ""
    assert accepted_size(model, (3, 64, 64), train=True) == "; it accepts images of 96x96"
    assert not model.training
    assert mean is not None
    assert not bool(mean.any())
