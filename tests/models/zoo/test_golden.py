"""The models of the zoo equal the published ones: keys, sizes, costs, features and logits."""

import json
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureModel
from smskd.models import create, macs, parameters

FOLDER = Path(os.environ.get("SMSKD_GOLDEN", Path(__file__).parents[2] / "golden"))
GOLDEN: dict[str, Any] = json.loads((FOLDER / "zoo.json").read_text())
MODELS: dict[str, Any] = GOLDEN["models"]

every_model = pytest.mark.parametrize("name", MODELS)


@dataclass
class Seen:
    """Facts of a model that was built, filled and run in float64."""

    keys: list[list[Any]]
    parameters: int
    macs: int
    feature_names: tuple[str, ...]
    before_relu: tuple[str, ...]
    norms: list[str] | None
    tensors: dict[str, Tensor]


def fill(model: nn.Module) -> None:
    """The deterministic weights of the golden numbers."""
    generator = torch.Generator().manual_seed(GOLDEN["seed"])
    state = model.state_dict()
    for key in sorted(state):
        old = state[key]
        if not old.is_floating_point():
            old.zero_()
        elif key.endswith("running_var") or (old.ndim == 1 and key.endswith("weight")):
            old.copy_(torch.rand(old.shape, generator=generator) + 0.5)
        elif old.ndim >= 2:
            fan_in = old.numel() / old.shape[0]
            old.copy_(torch.randn(old.shape, generator=generator) * (1.1 / math.sqrt(fan_in)))
        else:
            old.copy_(torch.randn(old.shape, generator=generator) * 0.05)


def images() -> Tensor:
    return torch.randn(GOLDEN["input_shape"], generator=torch.Generator().manual_seed(GOLDEN["input_seed"]))


@cache
def seen(name: str) -> Seen:
    model = create(name, classes=GOLDEN["num_classes"])
    names = model.feature_names
    before = tuple(n + PREACTIVATION if n in model.preactivation_names else n for n in names)
    keys = [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]
    cost = macs(model, (3, 32, 32))
    fill(model)
    model.double().eval()
    with torch.no_grad():
        tensors = model.extract(images().double(), {*names, *before, LOGITS})
    return Seen(keys, parameters(model), cost, names, before, norms_before_relu(model), tensors)


def norms_before_relu(model: FeatureModel) -> list[str] | None:
    """The names of the batch norms in front of the stages' last ReLUs; None where no stage has one."""
    names = {module: name for name, module in model.named_modules()}
    norms = [model.norm_before_relu(name) for name in model.feature_names if name.startswith("stage")]
    return None if not any(norms) else [names[norm] for norm in norms if norm is not None]


def assert_near(actual: Tensor, expected: list[Any], tolerance: float) -> None:
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert actual.shape == wanted.shape
    assert (actual.double() - wanted).abs().max() <= tolerance * wanted.abs().max()


def assert_statistics(seen: Seen, names: tuple[str, ...], expected: list[list[float]]) -> None:
    assert len(names) == len(expected)
    for name, numbers in zip(names, expected, strict=True):
        tensor = seen.tensors[name]
        assert_near(torch.stack([tensor.mean(), tensor.std(), tensor.min()]), numbers, 1e-6)


def test_there_are_the_published_models() -> None:
    assert len(MODELS) == 24


@every_model
def test_keys_and_shapes_in_order(name: str) -> None:
    assert seen(name).keys == MODELS[name]["state_dict"]


@every_model
def test_parameters(name: str) -> None:
    assert seen(name).parameters == MODELS[name]["parameters"]


@every_model
def test_multiply_accumulates(name: str) -> None:
    assert seen(name).macs == MODELS[name]["macs_conv_linear_32x32"]


@every_model
def test_feature_shapes(name: str) -> None:
    model = seen(name)
    shapes = [list(model.tensors[feature].shape) for feature in model.feature_names]
    assert shapes == MODELS[name]["feature_shapes"]


@every_model
def test_features(name: str) -> None:
    assert_statistics(seen(name), seen(name).feature_names, MODELS[name]["feature_mean_std_min"])


@every_model
def test_features_before_the_relu(name: str) -> None:
    assert_statistics(seen(name), seen(name).before_relu, MODELS[name]["preact_feature_mean_std_min"])


@every_model
def test_batch_norms_before_the_relu(name: str) -> None:
    assert seen(name).norms == MODELS[name]["bn_before_relu"]


@every_model
def test_logits(name: str) -> None:
    assert_near(seen(name).tensors[LOGITS], MODELS[name]["logits"], 1e-6)


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"])
def test_logits_in_single_precision(name: str) -> None:
    model = create(name, classes=GOLDEN["num_classes"])
    fill(model)
    model.eval()
    with torch.no_grad():
        assert_near(model(images()), MODELS[name]["logits"], 2e-5)
