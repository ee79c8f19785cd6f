"""FT: paraphraser and translator, the phase before the stage, the loss."""

from typing import Any

import pytest
import torch
import torchvision

from smskd.errors import UserError
from smskd.interfaces.features import ModelInfo
from smskd.methods.ft import FT, ft_loss
from smskd.models import adapt, create
from smskd.testing.expect import total
from smskd.testing.inputs import DATA
from tests.support.method_inputs import TEACHER, build, case


def _rate(family: str) -> float | None:
    pretraining = FT().pretraining(ModelInfo((), 5, family=family))
    assert pretraining is not None
    assert (pretraining.epochs, pretraining.trains_student) == (30, False)
    return pretraining.learning_rate


@pytest.mark.parametrize(
    ("name", "rate"),
    [("resnet8", 0.01), ("resnet8x4", 0.01), ("wrn_16_1", 0.01), ("ResNet50", None), ("vgg8", None)],
)
def test_ft_trains_the_paraphraser_slowly_before_resnets_and_wrns_of_the_zoo(name: str, rate: float | None) -> None:
    assert _rate(create(name, classes=5).family) == rate


def test_a_resnet_of_torchvision_is_not_one_of_the_zoo() -> None:
    model = adapt(torchvision.models.resnet18(num_classes=5), torch.zeros(2, 3, 32, 32))
    assert type(model.wrapped).__name__ == "ResNet"
    assert _rate(model.family) is None


def test_ft_without_the_phase() -> None:
    assert FT(init_epochs=0).pretraining(ModelInfo((), 5)) is None


def test_ft_trains_the_paraphraser_before_the_stage_and_the_translator_in_it() -> None:
    method = FT()
    state = build(method)
    trained = {name for name, parameter in state.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(name.startswith("translator.") for name in trained)
    paraphraser = method.pretrained(state)
    assert paraphraser is state.get_submodule("paraphraser")
    assert len(trained) + len(list(paraphraser.parameters())) == len(list(state.parameters()))


def test_the_paraphraser_learns_to_reconstruct_the_teacher() -> None:
    torch.manual_seed(0)
    method = FT()
    state = build(method)
    paraphraser = method.pretrained(state).requires_grad_(True)
    optimizer = torch.optim.Adam(paraphraser.parameters(), lr=0.02)
    inputs = case(method).inputs(6)
    losses = []
    for _ in range(30):
        loss = total(method.pretraining_loss(inputs, state))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_mode_does_not_matter_to_the_paraphraser() -> None:
    paraphraser = FT().pretrained(build(FT()))
    before = {name: tensor.clone() for name, tensor in paraphraser.state_dict().items()}
    teacher = torch.randn(3, *TEACHER.features["stage3"])
    assert torch.equal(paraphraser.train()(teacher), paraphraser.eval()(teacher))
    assert all(torch.equal(before[name], tensor) for name, tensor in paraphraser.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"paraphrase_rate": 0}, "paraphrase_rate must be positive, not 0"),
        ({"factor_power": 0}, "factor_power must be a whole number of 1 or more, not 0"),
        ({"difference_power": 1.5}, "difference_power must be a whole number of 1 or more, not 1.5"),
    ],
)
def test_a_value_out_of_range_is_refused_by_ft(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        FT(**fields)
    assert str(caught.value) == message


def test_a_paraphrase_of_no_channel_is_refused() -> None:
    with pytest.raises(UserError, match=r"paraphrase_rate 0\.05 leaves no channel of the teacher's 16"):
        build(FT(paraphrase_rate=0.05))


def test_ft_refuses_maps_of_a_single_position() -> None:
    with pytest.raises(UserError, match="FT compares spatial attention, and the smaller of the last maps is 1x1"):
        FT().build(ModelInfo(((8, 4, 1),), 5), ModelInfo(((8, 1, 4),), 5), DATA)
    assert FT().build(ModelInfo(((8, 4, 2),), 5), ModelInfo(((8, 1, 4),), 5), DATA)


def test_ft_pools_the_larger_factor_and_takes_the_absolute_difference() -> None:
    student, teacher = torch.zeros(1, 1, 2, 2), torch.ones(1, 3, 1, 2)
    student[0, 0, :, 0] = 4
    # Attention of the student over the two columns: (1, 0); of the teacher: (1, 1) / sqrt(2).
    by_hand = [1 - 0.5**0.5, 0.5**0.5]
    assert float(ft_loss(student, teacher, 2, 1)) == pytest.approx(sum(by_hand) / 2)
    assert float(ft_loss(student, teacher, 2, 3)) == pytest.approx(sum(x**3 for x in by_hand) / 2)


def test_attention_of_ft_survives_a_factor_of_zero() -> None:
    student = torch.rand(3, 4, 4, 4)
    student[1] = 0
    student.requires_grad_()
    loss = ft_loss(student, torch.zeros(3, 2, 4, 4), 2, 1)
    loss.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 10
    assert student.grad[1].abs().max() == 0
