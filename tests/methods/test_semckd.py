"""SemCKD: formula, batches of another size, embeddings of zero, 16 bits, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo
from smskd.interfaces.terms import DataInfo, TermInputs
from smskd.methods.semckd import SemCKD, semckd_loss
from smskd.testing.expect import total
from smskd.testing.inputs import DATA
from tests.support.method_inputs import MLP, STUDENT, TEACHER, build, case, feature_inputs, read_names

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())["semckd"]


def _inputs(samples: int, scale: float = 1.0) -> TermInputs:
    """Uniformly distributed features; the student's are leaves with gradient."""
    names = read_names(SemCKD())
    student = [scale * torch.rand(samples, *STUDENT.features[name]) for name in names.student]
    teacher = [scale * torch.rand(samples, *TEACHER.features[name]) for name in names.teacher]
    return feature_inputs([feature.requires_grad_() for feature in student], teacher)


def test_the_defaults_are_the_published_ones() -> None:
    method, published = SemCKD(), DEFAULTS["hyperparameters"]
    assert (method.temperature, method.factor) == (published["soft"], published["factor"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factor": 0}, "factor must be a whole number of 1 or more, not 0"),
        ({"temperature": 0}, "temperature must be positive, not 0"),
    ],
)
def test_a_value_out_of_range_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        SemCKD(**fields)
    assert str(caught.value) == message


def test_a_batch_smaller_than_the_factor_is_refused() -> None:
    sides = ModelInfo(((4, 8, 8),), 5), ModelInfo(((6, 8, 8),), 5)
    with pytest.raises(UserError, match="SemCKD needs batches of at least factor = 4 samples, not 3"):
        SemCKD().build(*sides, DataInfo(40, 5, batch_size=3))
    assert list(SemCKD().build(*sides, DataInfo(40, 5, batch_size=4)).parameters())


@pytest.mark.parametrize(("student", "teacher"), [(MLP, TEACHER), (STUDENT, MLP)])
def test_models_without_maps_are_refused(student: FeatureLayout, teacher: FeatureLayout) -> None:
    with pytest.raises(UserError, match="SemCKD compares feature maps"):
        read_names(SemCKD(), student, teacher)


def test_all_stages_of_both_are_read_also_where_one_model_has_more() -> None:
    longer = FeatureLayout({f"stage{n}": (4, 2, 2) for n in range(1, 6)} | {"pooled": (4,)}, 5)
    names = read_names(SemCKD(), STUDENT, longer)
    assert names.student == ("stage1", "stage2", "stage3")
    assert names.teacher == longer.stages
    one = case(SemCKD(), STUDENT, longer)
    inputs = one.inputs(8)
    attention = SemCKD().attention(inputs.student, inputs.teacher, one.build())
    assert attention.shape == (8, 3, 5)
    torch.testing.assert_close(attention.sum(2), torch.ones(8, 3))


def test_the_loss_by_hand() -> None:
    attention = torch.tensor([[[0.25, 0.75]], [[1.0, 0.0]]])
    differences = torch.tensor([[[4.0, 8.0]], [[3.0, 100.0]]])
    assert float(semckd_loss(attention, differences)) == (1 + 6 + 3) / 2


@pytest.mark.parametrize("samples", [1, 7, 9])
def test_a_batch_of_another_size_has_no_loss_and_keeps_the_graph(samples: int) -> None:
    state, inputs = build(SemCKD()), _inputs(samples)
    before = {name: value.clone() for name, value in state.state_dict().items()}
    parts = SemCKD().loss(inputs, state)
    total(parts).backward()
    assert parts["level"].tolist() == [0.0] * samples
    assert all(x.grad is not None and x.grad.abs().max() == 0 for x in inputs.student.features)
    assert all(torch.equal(value, before[name]) for name, value in state.state_dict().items())
    assert parts.keys() == SemCKD().loss(_inputs(8), state).keys()


def test_embeddings_of_zero_have_finite_gradients() -> None:
    torch.manual_seed(0)
    state = build(SemCKD())
    for module in state.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    inputs = _inputs(8)
    with torch.no_grad():
        for feature in (*inputs.student.features, *inputs.teacher.features):
            feature[2] = 0
    loss = total(SemCKD().loss(inputs, state))
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [x.grad for x in (*inputs.student.features, *state.parameters())]
    assert all(gradient is not None and gradient.abs().max() < 1e4 for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_activations_survive_sixteen_bits(dtype: torch.dtype) -> None:
    """A sample's squares sum to more than 65504, the largest float16."""
    torch.manual_seed(0)
    state = build(SemCKD())
    inputs = _inputs(8, scale=40.0)
    assert float(inputs.student.features[0].detach()[0].square().sum()) > 65504
    exact = SemCKD().attention(inputs.student, inputs.teacher, state)
    with torch.autocast("cpu", dtype=dtype):
        loss = SemCKD().loss(inputs, state)["level"]
        rounded = SemCKD().attention(inputs.student, inputs.teacher, state)
    assert torch.isfinite(loss).all()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.01)


def test_the_batch_size_of_the_data_is_that_of_the_layers() -> None:
    state = build(SemCKD())
    layer = state.get_submodule("query0.linear1")
    assert isinstance(layer, nn.Linear)
    assert layer.in_features == DATA.batch_size
