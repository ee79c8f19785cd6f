"""Published defaults; values out of range and unsuitable models are refused in one line."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo
from smskd.interfaces.terms import DataInfo, Method
from smskd.methods.at import AT
from smskd.methods.crd import CRD
from smskd.methods.fitnet import FitNet
from smskd.methods.rkd import RKD
from smskd.methods.vid import VID
from smskd.registry import METHODS
from smskd.testing.inputs import DATA
from tests.support.method_inputs import MLP, STUDENT, TEACHER, build, case, read_names

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())
MAPS = ["fitnet", "at", "sp", "vid", "ab", "fsp", "ft", "ofd", "reviewkd"]
VECTORS = ["rkd", "pkt", "crd"]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("kd", {"temperature": "T"}),
        ("fitnet", {"hint_layer": "hint_layer"}),
        ("at", {"power": "p"}),
        ("rkd", {"distance_weight": "w_d", "angle_weight": "w_a"}),
        ("vid", {"initial_variance": "init_pred_var", "minimum_variance": "eps"}),
        (
            "crd",
            {
                "feature_dim": "feat_dim",
                "negatives": "nce_k",
                "temperature": "nce_t",
                "momentum": "nce_m",
                "mode": "mode",
            },
        ),
    ],
)
def test_the_defaults_are_the_published_ones(name: str, published: dict[str, str]) -> None:
    method = METHODS.find(name)()
    values = DEFAULTS[name]["hyperparameters"]
    assert {field: getattr(method, field) for field in published} == {
        field: values[key] for field, key in published.items()
    }


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("kd", {"temperature": -1}, "temperature must be positive, not -1"),
        ("kd", {"temperature": math.nan}, "temperature must be positive, not nan"),
        ("kd", {"temperature": math.inf}, "temperature must be positive, not inf"),
        ("fitnet", {"hint_layer": 0}, "hint_layer must be a whole number of 1 or more, not 0"),
        ("at", {"power": 1.5}, "power must be a whole number of 1 or more, not 1.5"),
        ("rkd", {"angle_weight": -2}, "angle_weight must be 0 or more, not -2"),
        (
            "rkd",
            {"distance_weight": 0, "angle_weight": 0},
            "distance_weight and angle_weight must not both be 0",
        ),
        ("vid", {"initial_variance": 0}, "initial_variance must be positive, not 0"),
        ("vid", {"minimum_variance": 6}, "initial_variance must be above minimum_variance 6, not 5.0"),
        ("crd", {"negatives": 0}, "negatives must be a whole number of 1 or more, not 0"),
        ("crd", {"momentum": 1.5}, "momentum must be between 0 and 1, not 1.5"),
        ("crd", {"temperature": 0}, "temperature must be positive, not 0"),
        ("crd", {"mode": "both"}, "mode must be exact or relax, not both"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        METHODS.find(name)(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(("student", "teacher"), [(MLP, TEACHER), (STUDENT, MLP)])
def test_models_without_maps_are_refused_by_methods_of_maps(
    name: str, student: FeatureLayout, teacher: FeatureLayout
) -> None:
    with pytest.raises(UserError) as caught:
        read_names(METHODS.find(name)(), student, teacher)
    assert "\n" not in str(caught.value)
    assert ("student" if student is MLP else "teacher") in str(caught.value)


@pytest.mark.parametrize("name", ["kd", *VECTORS])
def test_models_without_maps_do_for_the_others(name: str) -> None:
    assert read_names(METHODS.find(name)(), MLP, TEACHER).student in (("pooled",), ("logits",))


@pytest.mark.parametrize("name", VECTORS)
def test_models_without_a_vector_are_refused_by_methods_of_vectors(name: str) -> None:
    with pytest.raises(UserError, match="reads the pooled vector, and the student has none; its features: stage1"):
        read_names(METHODS.find(name)(), FeatureLayout({"stage1": (3, 4, 4)}, 5), TEACHER)


@pytest.mark.parametrize("method", [AT(), VID()])
def test_the_last_stages_are_paired_where_one_model_has_more(method: Method) -> None:
    longer = FeatureLayout({f"stage{n}": (4, 2, 2) for n in range(1, 6)} | {"pooled": (4,)}, 5)
    chosen = read_names(method, longer, TEACHER)
    assert chosen.student == ("stage3", "stage4", "stage5")
    assert chosen.teacher == ("stage1", "stage2", "stage3")


@pytest.mark.parametrize(("layer", "stage"), [(1, "stage1"), (3, "stage3")])
def test_a_hint_layer_is_a_stage_counted_from_one(layer: int, stage: str) -> None:
    assert read_names(FitNet(hint_layer=layer)).student == (stage,)


def test_a_hint_layer_beyond_the_last_stage_is_refused() -> None:
    with pytest.raises(UserError, match="hint_layer 4 is beyond the student's 3 stages"):
        read_names(FitNet(hint_layer=4))


def test_a_hint_without_a_regressor_needs_equal_shapes() -> None:
    method = FitNet(regressor=False)
    assert not list(build(method).parameters())
    unequal = ModelInfo(((8, 4, 4),), 5), ModelInfo(((9, 4, 4),), 5)
    with pytest.raises(UserError, match=r"needs equal shapes, not \[8, 4, 4\] \(student\) and \[9, 4, 4\]"):
        method.build(*unequal, DATA)


def test_a_hint_that_no_published_convolution_fits_is_resized() -> None:
    state = FitNet().build(ModelInfo(((8, 4, 4),), 5), ModelInfo(((6, 12, 12),), 5), DATA)
    assert state(torch.ones(2, 8, 4, 4)).shape == (2, 6, 12, 12)


def test_a_weight_of_zero_leaves_a_term_of_rkd_out() -> None:
    inputs = case(RKD()).inputs(6)
    both, one = (method.loss(inputs, nn.Module()) for method in (RKD(), RKD(angle_weight=0)))
    assert torch.equal(one["distance"], both["distance"])
    assert float(one["angle"]) == 0


def test_crd_needs_labels_of_at_least_two_classes() -> None:
    sides = ModelInfo(((12,),), 5), ModelInfo(((16,),), 5)
    with pytest.raises(UserError, match="needs the label of every training sample"):
        CRD().build(*sides, DataInfo(40, 5, 8))
    with pytest.raises(UserError, match="all training samples have the same class"):
        CRD().build(*sides, DataInfo(40, 5, 8, torch.ones(40, dtype=torch.int64)))
