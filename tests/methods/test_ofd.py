"""OFD: margins, from a batch norm or estimated, and the loss beyond them."""

import math

import pytest
import torch
from torch import Tensor, nn

from smskd.interfaces.features import FeatureLayout, ModelInfo
from smskd.methods.ofd import OFD, Connector, estimated_margin, ofd_loss, ofd_margin
from smskd.models import create
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from smskd.testing.inputs import DATA
from tests.support.method_inputs import STUDENT, TEACHER, build, feature_inputs, read_names


def _margin(weight: float, bias: float) -> float:
    return float(ofd_margin(torch.tensor([weight]), torch.tensor([bias])))


def _losses(state: nn.Module, teacher: Tensor) -> dict[str, Tensor]:
    student = torch.randn(len(teacher), 4, *teacher.shape[2:])
    return OFD().loss(feature_inputs([student], [teacher]), state)


@pytest.mark.parametrize(("weight", "bias"), [(1.0, 0.0), (2.0, 0.5), (-0.7, -1.0), (0.5, 1.0)])
def test_the_margin_is_the_mean_of_the_negative_part(weight: float, bias: float) -> None:
    z = bias + abs(weight) * torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert _margin(weight, bias) == pytest.approx(float(z[z < 0].mean()), rel=0.02)


@pytest.mark.parametrize("deviations", [3.2, 50.0])
def test_where_hardly_anything_is_negative_it_is_three_deviations(deviations: float) -> None:
    assert _margin(0.5, 0.5 * deviations) == -1.5


@pytest.mark.parametrize(("bias", "margin"), [(-2.0, -2.0), (0.0, 0.0), (2.0, 0.0)])
def test_a_batch_norm_of_weight_zero_has_the_margin_of_the_limit(bias: float, margin: float) -> None:
    assert _margin(0.0, bias) == margin
    assert _margin(1e-30, bias) == pytest.approx(margin, abs=1e-20)


def test_the_margin_of_very_negative_means_is_the_mean() -> None:
    assert _margin(0.01, -100.0) == -100.0


def test_the_loss_by_hand() -> None:
    margin = torch.tensor([-1.0])
    teacher = torch.tensor([[[[2.0, 2.0, -0.5, -0.5, -3.0, -3.0]]]])
    connected = torch.tensor([[[[3.0, 1.0, 0.5, -0.8, 0.0, -2.0]]]])
    assert float(ofd_loss(connected, teacher, margin)) == 1 + 1 + 1 + 0 + 1 + 0


@pytest.mark.parametrize(("size", "expected"), [(2, 4 * 9.0), (8, 64 * 9.0)])
def test_the_teacher_is_brought_to_the_size_of_the_student(size: int, expected: float) -> None:
    connected = torch.full((1, 1, size, size), 1.0)
    assert float(ofd_loss(connected, torch.full((1, 1, 4, 4), 4.0), torch.tensor([-1.0]))) == expected


def test_the_levels_weigh_twice_as_much_from_one_to_the_next() -> None:
    state = build(OFD()).eval()
    names = read_names(OFD())
    features = [torch.zeros(1, *STUDENT.features[name]) for name in names.student]
    targets = [torch.zeros(1, *TEACHER.features[name]) for name in names.teacher]
    for target in targets:
        target[:, 0, 0, 0] = 1
    parts = OFD().loss(feature_inputs(features, targets), state)
    assert {name: float(part.detach()) for name, part in parts.items()} == {
        "level0": 0.25,
        "level1": 0.5,
        "level2": 1.0,
    }


def test_the_margins_are_those_of_the_teacher_s_batch_norms() -> None:
    torch.manual_seed(0)
    teacher = create("resnet14", classes=5)
    for norm in (module for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, -1, 1)
        nn.init.normal_(norm.bias)
    objective = build_objective(create("vgg8", classes=5), teacher, methods=["ofd"], example=torch.randn(2, 3, 16, 16))
    for level in range(3):
        before = teacher.norm_before_relu(f"stage{level + 1}")
        connector = objective.term_states[0].get_submodule(f"connector{level}")
        assert isinstance(connector, Connector)
        assert before is not None
        assert not connector.estimates
        assert torch.equal(connector.margin, ofd_margin(before.weight, before.bias).float())


def test_the_margins_of_the_stages_that_are_compared() -> None:
    torch.manual_seed(0)
    teacher = create("vgg8", classes=5)
    nn.init.constant_(teacher.get_submodule("block2.1").bias, 0.4)  # type: ignore[arg-type]
    objective = build_objective(
        create("resnet8", classes=5), teacher, methods=["ofd"], example=torch.randn(2, 3, 16, 16)
    )
    margin = objective.term_states[0].get_submodule("connector0").margin
    assert isinstance(margin, Tensor)
    assert margin.tolist() == pytest.approx([_margin(1.0, 0.4)] * 256)


def test_a_teacher_without_such_batch_norms_is_measured_at_the_first_batch() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 3, 16, 16)
    teacher = create("ShuffleV2", classes=5)
    objective = build_objective(create("resnet8", classes=5), teacher, methods=["ofd"], example=x)
    feature = Frozen(teacher, x).extract(x, ["stage1.preact"])["stage1.preact"]
    objective((x, torch.tensor([0, 1, 2])))
    connector = objective.term_states[0].get_submodule("connector0")
    assert isinstance(connector, Connector)
    assert connector.estimates
    assert connector.margin.tolist() == pytest.approx(
        [float(channel[channel < 0].mean()) if (channel < 0).any() else 0.0 for channel in feature.unbind(1)], rel=1e-4
    )


def test_an_estimate_is_made_once_and_saved() -> None:
    torch.manual_seed(0)
    sides = ModelInfo(((4, 3, 3),), 5), ModelInfo(((6, 3, 3),), 5)
    state = OFD().build(*sides, DATA)
    first = torch.randn(2, 6, 3, 3)
    assert all(torch.isfinite(part).all() for part in _losses(state, first).values())
    margin = state.get_submodule("connector0").margin
    assert isinstance(margin, Tensor)
    before = margin.clone()
    assert torch.equal(before, estimated_margin(first))
    _losses(state, 5 * torch.randn(2, 6, 3, 3))
    assert torch.equal(margin, before)
    other = OFD().build(*sides, DATA)
    other.load_state_dict(state.state_dict())
    _losses(other, 5 * torch.randn(2, 6, 3, 3))
    assert torch.equal(other.state_dict()["connector0.margin"], before)


def test_a_channel_without_negative_values_has_the_estimate_zero() -> None:
    teacher = torch.tensor([[[[1.0, -2.0]], [[0.0, 3.0]]], [[[-4.0, 5.0]], [[0.0, 0.0]]]])
    assert estimated_margin(teacher).tolist() == [-3.0, 0.0]


def test_a_batch_norm_without_weights_determines_no_margin() -> None:
    connector = Connector(4, 6, nn.BatchNorm2d(6, affine=False))
    assert connector.estimates
    assert math.isnan(float(connector.margin[0]))


def test_the_margin_is_not_trained() -> None:
    state = build(OFD())
    assert not any(name.endswith("margin") for name, _ in state.named_parameters())
    assert {name for name in state.state_dict() if name.endswith("margin")} == {
        f"connector{level}.margin" for level in range(3)
    }


def test_it_reads_both_models_before_the_relu() -> None:
    layout = FeatureLayout(STUDENT.features, 5, frozenset({"stage1", "stage2", "stage3"}))
    assert read_names(OFD(), layout, layout).student == ("stage1.preact", "stage2.preact", "stage3.preact")
    assert read_names(OFD(), layout, layout).teacher == ("stage1.preact", "stage2.preact", "stage3.preact")
