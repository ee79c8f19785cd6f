"""A dry run leaves a model, and the random state, as they were."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.models.dry_run import in_eval_mode, like_weights, preserve_state
from smskd.models.image_errors import as_user_error


class Stochastic(nn.Module):
    """Draws from every random generator, in eval mode too, and changes a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 5)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        drawn = random.random() + float(np.random.rand())
        return self.fc(nn.functional.dropout(self.norm(x), training=True)) + drawn


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("fails", [False, True])
def test_state_is_preserved(fails: bool) -> None:
    model = Stochastic().train()
    model.norm.eval()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = draws()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    buffer, mean = model.calls, model.norm.running_mean
    try:
        with preserve_state(model):
            assert not model.training
            assert not model(torch.ones(3, 4)).requires_grad
            model.train()(torch.randn(3, 4))
            if fails:
                raise ValueError("no")
    except ValueError:
        assert fails
    assert draws() == expected
    assert model.calls is buffer
    assert buffer.item() == 0
    assert model.norm.running_mean is mean
    assert torch.equal(mean, torch.zeros(4))  # type: ignore[arg-type]
    assert model.training
    assert model.fc.training
    assert not model.norm.training


def test_gradients_are_possible_in_eval_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5)).train()
    model[1].eval()
    with in_eval_mode(model):
        assert not model[0].training
        assert model(torch.ones(2, 4)).requires_grad
    assert model[0].training
    assert not model[1].training


def test_errors_of_the_model_are_one_line() -> None:
    model = nn.Flatten()
    message = r"^the model does not accept images of 3x8x8 .*: first$"
    with pytest.raises(UserError, match=message), as_user_error(model, (3, 8, 8)):
        raise RuntimeError("first\nsecond")
    with pytest.raises(UserError, match=r": AssertionError$"), as_user_error(model, (3, 8, 8)):
        raise AssertionError
    with pytest.raises(torch.OutOfMemoryError), as_user_error(model, (3, 8, 8)):
        raise torch.OutOfMemoryError("full")
    with pytest.raises(KeyError), as_user_error(model, (3, 8, 8)):
        raise KeyError("stage9")


def test_images_follow_the_first_floating_point_parameter() -> None:
    model = nn.ParameterList([nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)])
    assert like_weights(model, torch.zeros(1)).dtype == torch.float32
    model.append(nn.Parameter(torch.zeros(2, dtype=torch.float64)))
    assert like_weights(model, torch.zeros(1)).dtype == torch.float64
