"""Anchors by name and options, as a recipe has them."""

import copy
import pickle
from typing import Any

import pytest

from smskd.anchors.ewc import EWC
from smskd.anchors.l2_sp import L2SP
from smskd.anchors.mean_teacher import MeanTeacher
from smskd.anchors.reference_kl import ReferenceKL
from smskd.anchors.toward_reference import TowardReference
from smskd.config.base import ComponentConfig
from smskd.errors import UserError
from smskd.interfaces.terms import Anchor
from smskd.methods.fitnet import FitNet
from smskd.registry import ANCHORS

BUILT_IN = {
    "reference_kl": ReferenceKL,
    "toward_reference": TowardReference,
    "l2_sp": L2SP,
    "ewc": EWC,
    "mean_teacher": MeanTeacher,
}
OBJECTS: list[Anchor] = [
    ReferenceKL(),
    ReferenceKL(0.3, 2.0, "auto", "teacher", "reverse"),
    TowardReference(),
    TowardReference(2.0, FitNet(hint_layer=3, regressor=False)),
    L2SP(),
    L2SP(exclude=("fc", "stem.0"), parameters="all"),
    L2SP(toward="start"),
    MeanTeacher(),
    MeanTeacher(100.0, 0.99, "mse"),
    EWC(),
    EWC(100.0, "sampled", None, 0.9),
]


def test_every_file_is_an_anchor() -> None:
    assert set(ANCHORS.names()) == BUILT_IN.keys()
    for name, cls in BUILT_IN.items():
        assert ANCHORS.find(name) is cls
        assert ANCHORS.name_of(cls) == name


@pytest.mark.parametrize("anchor", OBJECTS, ids=str)
def test_name_and_options_make_an_equal_object(anchor: Anchor) -> None:
    component = ANCHORS.component_of(anchor)
    assert ANCHORS.make(component, "anchor") == anchor
    assert ANCHORS.make(ComponentConfig.of(component.as_mapping()), "anchor") == anchor


@pytest.mark.parametrize("anchor", OBJECTS, ids=str)
def test_hashable_and_copied_as_equal(anchor: Anchor) -> None:
    assert copy.deepcopy(anchor) == anchor
    assert pickle.loads(pickle.dumps(anchor)) == anchor
    assert len({anchor, copy.copy(anchor)}) == 1


@pytest.mark.parametrize("anchor", OBJECTS, ids=str)
def test_resolving_twice_changes_nothing(anchor: Anchor) -> None:
    resolved = anchor.resolve({"relation"})
    assert resolved.resolve({"response"}) == resolved


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"name": "l2sp"}, "anchor: unknown anchor 'l2sp'; did you mean 'l2_sp'"),
        ({"name": "reference_kl", "form": "none"}, "anchor.form: unknown hyper-parameter of reference_kl"),
        ({"name": "reference_kl", "tcp": "uniform"}, "anchor.tcp: "),
        ({"name": "ewc", "samples": 1.5}, "anchor.samples.*1.5"),
        ({"name": "l2_sp", "exclude": "fc"}, "anchor.exclude: must be a list, not 'fc'"),
        ({"name": "toward_reference", "method": "fitnt"}, "anchor: method: unknown method 'fitnt'"),
    ],
)
def test_messages_name_the_key(written: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ANCHORS.make(ComponentConfig.of(written), "anchor")
