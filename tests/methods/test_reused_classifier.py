"""SimKD and SRRL: the input of the teacher's classifier, and the student with SimKD's head, up to a loaded file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, TappedOutputs
from smskd.interfaces.terms import Method, TermInputs
from smskd.methods.simkd import SimKD, simkd_loss
from smskd.methods.srrl import SRRL
from smskd.models import adapt, create, describe
from smskd.ops.layers import ClassifierInput
from smskd.registry import METHODS
from smskd.testing.expect import total
from smskd.testing.inputs import DATA
from tests.support.method_inputs import MLP, STUDENT, TEACHER, feature_inputs, first_samples, read_names

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())


X, Y = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 5


CASES = [SimKD(), SRRL(variant="original"), SRRL(variant="simkd")]


def _model(name: str, seed: int) -> FeatureModel:
    """A network whose batch norms are not the identity."""
    torch.manual_seed(seed)
    model = create(name, classes=5, image_size=(16, 16)).train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(8, 3, 16, 16))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    return model


def _info(model: FeatureModel) -> tuple[ModelInfo, str]:
    layout = describe(model, (3, 16, 16))
    last = layout.last_map
    norms = (model.norm_before_relu(last),)
    return ModelInfo((layout.features[last],), 5, model.classifier, norms, model.family), last


def test_the_defaults_are_the_published_ones() -> None:
    assert SimKD().factor == DEFAULTS["simkd"]["hyperparameters"]["factor"]
    assert {name: getattr(SRRL(), name) for name in ("feature_weight", "regression_weight")} == DEFAULTS["srrl"][
        "hyperparameters"
    ]


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("simkd", {"factor": 0}, "factor must be a whole number of 1 or more, not 0"),
        ("srrl", {"feature_weight": -1}, "feature_weight must be 0 or more, not -1"),
        ("srrl", {"regression_weight": float("inf")}, "regression_weight must be 0 or more, not inf"),
        ("srrl", {"variant": "paper"}, "variant must be simkd or original, not paper"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        METHODS.find(name)(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", CASES[:2])
@pytest.mark.parametrize(("student", "teacher"), [(MLP, TEACHER), (STUDENT, MLP)])
def test_models_without_maps_are_refused(method: Method, student: FeatureLayout, teacher: FeatureLayout) -> None:
    with pytest.raises(UserError, match="compares feature maps"):
        read_names(method, student, teacher)


@pytest.mark.parametrize("method", CASES)
def test_a_teacher_without_a_classifier_that_fits_is_refused(method: Method) -> None:
    vector = isinstance(method, SRRL) and method.variant == "simkd"
    student, teacher = (ModelInfo(((8,) if vector else (8, 4, 4),), 5), ((16,) if vector else (16, 4, 4)))
    with pytest.raises(UserError, match="this teacher's logits are not the output of a single one"):
        method.build(student, ModelInfo((teacher,), 5), DATA)
    with pytest.raises(UserError, match="which has 20 input features; the compared features have 16 channels"):
        method.build(student, ModelInfo((teacher,), 5, nn.Linear(20, 5)), DATA)


@pytest.mark.parametrize("method", CASES)
def test_the_classifier_is_a_frozen_copy(method: Method) -> None:
    vector = isinstance(method, SRRL) and method.variant == "simkd"
    classifier = nn.Linear(16, 5)
    shapes = (((8,),), ((16,),)) if vector else (((8, 4, 4),), ((16, 4, 4),))
    state = method.build(ModelInfo(shapes[0], 5), ModelInfo(shapes[1], 5, classifier), DATA)
    copied = state.get_submodule("teacher_classifier")
    assert isinstance(copied, nn.Linear)
    assert torch.equal(copied.weight, classifier.weight)
    assert copied.weight.data_ptr() != classifier.weight.data_ptr()
    assert classifier.weight.requires_grad
    assert not any(parameter.requires_grad for parameter in copied.parameters())


@pytest.mark.parametrize("name", ["resnet8_w4", "wrn_16_1", "vgg8", "ShuffleV1", "ResNet50"])
def test_the_compared_teacher_map_is_the_input_of_its_classifier(name: str) -> None:
    model = _model(name, seed=0).eval()
    info, last = _info(model)
    tensors = model.extract(X, (last, "pooled", "logits"))
    read = ClassifierInput(info)
    pooled = read(tensors[last]).mean((2, 3))
    torch.testing.assert_close(pooled, tensors["pooled"], rtol=1e-4, atol=1e-5)
    assert info.classifier is not None
    torch.testing.assert_close(info.classifier(pooled), tensors["logits"], rtol=1e-4, atol=1e-4)
    assert not read.state_dict()


@pytest.mark.parametrize("method", CASES[:2])
def test_the_raw_last_map_of_a_wide_resnet_is_not_compared(method: Method) -> None:
    info, last = _info(_model("wrn_16_1", seed=0).eval())
    state = method.build(info, info, DATA)
    target = state.get_submodule("target")
    raw = torch.randn(2, *info.shapes[0])
    assert last == "stage3"
    assert float(target(raw).detach().min()) == 0
    assert not torch.allclose(target(raw), raw.relu())


class WideResNet(nn.Sequential):
    """A network with the name of a family of the zoo."""


def test_a_network_with_the_name_of_a_family_of_the_zoo_is_not_one_of_it() -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert ClassifierInput(_info(_model("wrn_16_1", seed=0))[0]).normalises
    assert not ClassifierInput(_info(adapt(WideResNet(*layers), X))[0]).normalises


@pytest.mark.parametrize(
    ("student_size", "teacher_size", "compared"),
    [((8, 8), (4, 4), (4, 4)), ((2, 2), (4, 4), (2, 2)), ((8, 2), (4, 4), (4, 2)), ((2, 8), (4, 4), (2, 4))],
)
def test_simkd_compares_at_the_smaller_size(
    student_size: tuple[int, int], teacher_size: tuple[int, int], compared: tuple[int, int]
) -> None:
    method = SimKD()
    state = method.build(
        ModelInfo(((6, *student_size),), 5), ModelInfo(((12, *teacher_size),), 5, nn.Linear(12, 5)), DATA
    )
    student = method.head(TappedOutputs(features=(torch.randn(3, 6, *student_size),)), state)
    assert student.features[0].shape == (3, 12, *compared)
    assert student.logits.shape == (3, 5)
    target = torch.randn(3, 12, *teacher_size)
    inputs = TermInputs(first_samples(3), student, TappedOutputs(features=(target,)))
    expected = (student.features[0] - nn.functional.adaptive_avg_pool2d(target, compared)).square().mean((1, 2, 3))
    torch.testing.assert_close(method.loss(inputs, state)["feature"], expected)


def test_simkd_loss_by_hand() -> None:
    teacher = torch.tensor([[[[0.0, 4.0], [8.0, 0.0]]]])
    assert float(simkd_loss(torch.tensor([[[[1.0]]]]), teacher)) == 4


@pytest.mark.parametrize("method", CASES)
def test_a_single_image_in_train_mode_with_maps_of_one_position(method: Method) -> None:
    vector = isinstance(method, SRRL) and method.variant == "simkd"
    shapes = (((8,),), ((16,),)) if vector else (((8, 1, 1),), ((16, 1, 1),))
    state = method.build(ModelInfo(shapes[0], 5), ModelInfo(shapes[1], 5, nn.Linear(16, 5)), DATA).train()
    feature = torch.randn(1, *shapes[0][0], requires_grad=True)
    student = method.head(TappedOutputs(features=(feature,)), state)
    teacher = TappedOutputs(torch.randn(1, 5), (torch.randn(1, *shapes[1][0]),))
    loss = total(method.loss(TermInputs(first_samples(1), student, teacher), state))
    loss.backward()
    assert torch.isfinite(loss)
    assert feature.grad is not None
    assert torch.isfinite(feature.grad).all()


@pytest.mark.parametrize(("weights", "zero"), [((1, 0), "softmax_regression"), ((0, 1), "feature")])
def test_srrl_weights_its_terms(weights: tuple[float, float], zero: str) -> None:
    method = SRRL(*weights)
    state = method.build(ModelInfo(((8,),), 5), ModelInfo(((16,),), 5, nn.Linear(16, 5)), DATA)
    teacher = TappedOutputs(torch.randn(4, 5), (torch.randn(4, 16),))
    inputs = replace(feature_inputs([torch.randn(4, 8)], [torch.randn(4, 16)]), teacher=teacher)
    parts = method.loss(inputs, state)
    assert parts.pop(zero).tolist() == [0.0] * 4
    (other,) = parts.values()
    assert (other > 0).all()
