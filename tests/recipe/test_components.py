"""Methods and anchors out of a recipe: unknown names, unknown hyper-parameters, wrong values."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from smskd.errors import UserError
from smskd.recipe.components import anchor_of, hyperparameters, method_of
from smskd.recipe.spec import ComponentSpec, MethodSpec
from smskd.registry import ANCHORS, METHODS

OF_PYDANTIC = ("Input should", "input should", "valid", "instance of", "dictionary", "dataclass")


def test_a_method_with_hyperparameters() -> None:
    method = method_of(MethodSpec(name="kd", weight=3, temperature=2), "methods.0")
    assert hyperparameters(method) == {"temperature": 2.0}


@pytest.mark.parametrize("name", METHODS.names())
def test_the_defaults_of_every_method_are_accepted_when_written_out(name: str) -> None:
    default = METHODS.find(name)()
    assert method_of(MethodSpec(name=name, **hyperparameters(default)), "methods.0") == default


@pytest.mark.parametrize("name", METHODS.names())
def test_a_wrong_type_is_told_with_its_place_and_in_our_words(name: str) -> None:
    hints = get_type_hints(METHODS.find(name))
    for field in fields(METHODS.find(name)):
        with pytest.raises(UserError) as error:
            method_of(MethodSpec(name=name, **{field.name: {"no": "value"}}), "stages.1.methods.0")
        message = str(error.value)
        assert message.startswith(f"stages.1.methods.0.{field.name}: must be "), (hints[field.name], message)
        assert not any(word in message for word in OF_PYDANTIC), message
        assert "\n" not in message


@pytest.mark.parametrize("name", METHODS.names())
def test_an_unknown_hyperparameter_of_a_method(name: str) -> None:
    with pytest.raises(UserError, match=rf"^methods\.0\.nosuch: unknown hyper-parameter of {name}; "):
        method_of(MethodSpec(name=name, nosuch=3), "methods.0")


def test_the_nearest_hyperparameter() -> None:
    with pytest.raises(UserError, match=r"^methods\.0\.temprature: .* of kd; did you mean 'temperature'\?$"):
        method_of(MethodSpec(name="kd", temprature=3), "methods.0")


def test_values_out_of_range() -> None:
    with pytest.raises(UserError, match=r"^methods\.0: temperature must be positive, not -3\.0$"):
        method_of(MethodSpec(name="kd", temperature=-3), "methods.0")
    with pytest.raises(UserError, match=r"^methods\.0\.temperature: must be a number, not 'hot'$"):
        method_of(MethodSpec(name="kd", temperature="hot"), "methods.0")
    with pytest.raises(UserError, match=r"^anchor: weight must be 0 or more, not -1\.0$"):
        anchor_of(ComponentSpec(name="reference_kl", weight=-1), "anchor")
    with pytest.raises(UserError, match=r"^anchor\.form: must be 'probability', .* not 'foo'$"):
        anchor_of(ComponentSpec(name="reference_kl", form="foo"), "anchor")


def test_unknown_names() -> None:
    with pytest.raises(UserError, match=r"^methods\.0: unknown method 'kdd'; did you mean 'kd'\?$"):
        method_of(MethodSpec(name="kdd"), "methods.0")
    with pytest.raises(UserError, match=r"^methods\.0: method 'no\.such:Thing': cannot import 'no\.such'"):
        method_of(MethodSpec(name="no.such:Thing"), "methods.0")
    with pytest.raises(UserError, match=r"^anchor: 'true_clas' is not an anchor; did you mean 'reference_kl'\?$"):
        anchor_of(ComponentSpec(name="true_clas"), "anchor")


def test_no_anchor() -> None:
    assert anchor_of(None, "anchor") is None
    assert ANCHORS.names()
