"""Everything that a run will do is tried before its first epoch, and nothing is changed by it."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import smskd
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.models import memory_errors
from smskd.training.rehearsal import rehearse
from tests.support import tiny


class Net(nn.Module):
    """A linear classifier with a mistake of its own."""

    def __init__(self, mistake: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.features = nn.Flatten()
        self.fc = nn.Linear(64, tiny.CLASSES)
        self._mistake = mistake

    def forward(self, x: Tensor) -> Tensor:
        return self._mistake(self, x, self.fc(self.features(x)))


def raising(error: Exception) -> Tensor:
    raise error


def only_train_mode(net: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
    return raising(RuntimeError("not in train mode")) if net.training else logits


def only_large_batches(net: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
    return raising(AttributeError("too few images")) if net.training and len(x) < 10 else logits


def squeezing(net: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
    """The usual mistake of `squeeze()` without a dimension: a batch of one image loses its first one."""
    return logits[:, :, None, None].squeeze()


def fewer_logits_in_train_mode(net: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
    return logits[:, :4] if net.training else logits


def in_place_gradient(net: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
    """Fails in the backward pass alone."""
    root = logits.exp()
    square = root * root
    root.add_(1)
    return square


def out_of_memory(net: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
    return torch.zeros(1 << 46) if net.training else logits


def arguments(**changes: Any) -> dict[str, Any]:
    data = tiny.digits()
    return {
        "student": nn.Sequential(nn.Flatten(), nn.Linear(64, tiny.CLASSES)),
        "teacher": None,
        "train": data.train,
        "test": data.test,
        "stages": [[]],
        "epochs": 2,
        "batch_size": 18,
        "device": "cpu",
        **changes,
    }


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as error:
        smskd.distill(**arguments(**changes), on_epoch=lambda report: pytest.fail("an epoch was trained"))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (only_train_mode, "stages.0: a training step on a batch (18 images) fails: not in train mode"),
        (
            only_large_batches,
            "stages.0: a training step on the last, smaller batch of an epoch (6 images) fails: too few",
        ),
        (fewer_logits_in_train_mode, "stages.0: a training step on a batch (18 images) fails: "),
        (
            in_place_gradient,
            "stages.0: a training step on a batch (18 images) fails: one of the variables needed for grad",
        ),
        (
            out_of_memory,
            "memory does not suffice for stages.0: a training step on a batch (18 images): lower training.b",
        ),
    ],
)
def test_networks_that_fail_in_training_alone(mistake: Any, message: str) -> None:
    assert refusal(student=Net(mistake)).startswith(message)


class Auxiliary(nn.Module):
    """An auxiliary head in train mode, which needs images of 48x48."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, tiny.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            nn.functional.avg_pool2d(x, 40)
        return self.fc(x.mean(dim=(2, 3)))


def test_an_auxiliary_head_that_needs_larger_images() -> None:
    message = refusal(student=Auxiliary())
    assert message.startswith("stages.0: a training step on a batch (")
    assert message.endswith("; it accepts images of 48x48")


def test_a_network_that_fails_for_one_image() -> None:
    data = tiny.digits()
    test = [data.test[row] for row in range(21)]
    runtime = {"training": smskd.TrainingConfig(test_batch_size=20)}
    message = refusal(student=Net(squeezing), test=test, **runtime)
    assert "1 image" in message or "[2, classes]" in message or "output for" in message


def test_batches_with_a_last_one_of_one_image() -> None:
    """It is left out in training, which a batch norm could not do, and is tested."""
    data = tiny.digits()
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, tiny.CLASSES))
    train = [data.train[row] for row in range(19)]
    smskd.distill(**arguments(student=student, train=train))


class ExtraState(nn.Linear):
    def get_extra_state(self) -> Any:
        return {"calls": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def test_a_state_that_no_checkpoint_holds() -> None:
    message = refusal(student=nn.Sequential(nn.Flatten(), ExtraState(64, tiny.CLASSES)))
    assert message.startswith("student: its state_dict() has a dict as '1._extra_state'")


def test_memory_that_does_not_suffice_in_the_second_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    crd = smskd.WeightedMethod("crd", tiny.SMALL_CRD.method, 0.8)

    def build(*_: object) -> nn.Module:
        raise MemoryError

    monkeypatch.setattr(type(crd.method), "build", build)
    message = refusal(teacher=tiny.teacher(), stages=[StageConfig(ends_after=1), StageConfig(methods=(crd,))])
    assert "memory does not suffice" in message
    assert "crd" in message


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="other"), memory_errors.out_of_memory_told(lambda: "work"):
        raise RuntimeError("other")


def test_nothing_is_changed() -> None:
    stages: list[Any] = [(StageConfig(ends_after=1), ["fitnet"]), (StageConfig(ends_after=2), [tiny.SMALL_CRD])]
    stages.append((StageConfig(), ["simkd"]))
    made = tiny.built(tiny.recipe(stages, epochs=3, anchor=ReferenceKL(), batch_size=25))
    assert made.teachers[0] is not None
    made.student.train()
    before = tiny.bits(made.student), tiny.bits(made.teachers[0])
    draws = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    rehearse(made)
    assert tiny.same(tiny.bits(made.student), before[0])
    assert tiny.same(tiny.bits(made.teachers[0]), before[1])
    assert torch.equal(torch.get_rng_state(), draws[0])
    assert random.getstate() == draws[1]
    assert np.array_equal(np.random.get_state()[1], draws[2])
    assert made.student.training
    assert all(weight.requires_grad and weight.grad is None for weight in made.student.parameters())
    assert not any(module._forward_hooks for module in made.student.modules())
