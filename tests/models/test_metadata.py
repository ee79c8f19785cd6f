"""The facts of a network: to a file and back, and along with the network."""

import copy
from typing import Any

import pytest

from smskd.errors import UserError
from smskd.models import Facts, create, facts, set_facts
from tests.support.facts_cases import KNOWN, known_network
from tests.support.own_data import network

FULL = Facts(
    model="nets:make",
    options={"width": 3},
    features={"stage1": "0"},
    classes=2,
    class_names=("cat", "dög"),
    image_shape=(3, 8, 9),
    mean=(0.1, 1 / 3, 0.5),
    std=(0.2, 0.3, 1.0),
    heads=("{}",),
)


@pytest.mark.parametrize("known", [FULL, KNOWN, Facts(), Facts(network="nets:Net", classes=4)])
def test_to_metadata_and_back(known: Facts) -> None:
    texts = known.as_metadata()
    assert all(isinstance(text, str) for text in texts.values())
    assert Facts.parse(texts, "w") == known


def test_other_keys_are_ignored() -> None:
    assert Facts.parse({"format": "pt", "author": "{"}, "w") == Facts()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "x"}, "classes is not JSON"),
        ({"classes": "10"}, "2 class names for 10 classes"),
        ({"classes": "-1"}, "classes: "),
        ({"classes": "1000000000000"}, "classes: "),
        ({"classes": "9" * 5000}, "classes is not JSON"),
        ({"class_names": "[1, 2]"}, "class_names.0: "),
        ({"class_names": '"ab"'}, "class_names: "),
        ({"image_shape": "[3, 8]"}, "image_shape.2: |image_shape: "),
        ({"image_shape": "[3, 8, 0]"}, "image_shape.2: "),
        ({"image_shape": "[1, 8, 9]"}, "not those of 1 channels"),
        ({"mean": "null"}, "mean and std belong together"),
        ({"mean": "[0, 0, NaN]"}, "mean.2: "),
        ({"std": "[1, 1, 0]"}, "std.2: "),
        ({"options": "[]"}, "options: "),
        ({"heads": "{}"}, "heads: "),
        ({"heads": "[" * 10**5}, "heads is not JSON"),
    ],
)
def test_damaged_metadata_are_one_line(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Facts.parse(FULL.as_metadata() | changes, "weights: w")
    assert str(caught.value).startswith("weights: w: its metadata are damaged: ")
    assert "\n" not in str(caught.value)


def test_numbers_are_no_names() -> None:
    names: Any = tuple(map(str, range(12)))
    assert Facts(class_names=names).named_classes is None
    assert Facts(class_names=("1", "0")).named_classes == ("1", "0")
    assert Facts().named_classes is None


def test_the_facts_travel_with_the_network() -> None:
    model = known_network()
    assert facts(model) == facts(copy.deepcopy(model)) == KNOWN
    set_facts(model, None)
    assert facts(model) is None


def test_a_new_network_of_the_zoo_has_learned_nothing() -> None:
    assert facts(create("resnet8_w2", classes=7)) == Facts(model="resnet8_w2", classes=7)


def test_nothing_is_known_of_other_networks() -> None:
    assert facts(network(2, seed=1)) is None
