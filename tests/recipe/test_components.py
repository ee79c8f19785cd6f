"""Components of a recipe: unknown names, unknown hyper-parameters, wrong values."""

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from smskd.config.base import ComponentConfig
from smskd.errors import UserError
from smskd.registry import ANCHORS, METHODS, STRATEGIES, ClassRegistry

OF_PYDANTIC = ("Input should", "input should", "valid", "instance of", "dictionary", "dataclass")


def method(name: str, where: str = "methods.0", **options: Any) -> Any:
    return METHODS.make(ComponentConfig(name, options), where)


def anchor(name: str, where: str = "anchor", **options: Any) -> Any:
    return ANCHORS.make(ComponentConfig(name, options), where)


def test_a_method_with_hyperparameters() -> None:
    assert METHODS.component_of(method("kd", temperature=2)) == ComponentConfig("kd", {"temperature": 2.0})


@pytest.mark.parametrize(
    ("registry", "name"),
    [(registry, name) for registry in (METHODS, ANCHORS, STRATEGIES) for name in registry.names()],
)
def test_the_defaults_of_every_component_are_accepted_when_written_out(registry: ClassRegistry, name: str) -> None:
    default = registry.find(name)()
    component = registry.component_of(default)
    assert component.name == name
    assert component.options.keys() == {field.name for field in fields(default)}
    assert registry.make(component, "here") == default


@pytest.mark.parametrize("name", METHODS.names())
def test_the_error_of_a_wrong_type_has_the_path_and_no_words_of_pydantic(name: str) -> None:
    hints = get_type_hints(METHODS.find(name))
    for field in fields(METHODS.find(name)):
        with pytest.raises(UserError) as error:
            method(name, "stages.1.methods.0", **{field.name: {"no": "value"}})
        message = str(error.value)
        assert message.startswith(f"stages.1.methods.0.{field.name}: must be "), (hints[field.name], message)
        assert not any(word in message for word in OF_PYDANTIC), message
        assert "\n" not in message


@pytest.mark.parametrize("name", METHODS.names())
def test_an_unknown_hyperparameter_of_a_method(name: str) -> None:
    with pytest.raises(UserError, match=rf"^methods\.0\.nosuch: unknown hyper-parameter of {name}; "):
        method(name, nosuch=3)


def test_the_nearest_hyperparameter() -> None:
    with pytest.raises(UserError, match=r"^methods\.0\.temprature: .* of kd; did you mean 'temperature'\?$"):
        method("kd", temprature=3)


def test_values_out_of_range() -> None:
    with pytest.raises(UserError, match=r"^methods\.0: temperature must be positive, not -3\.0$"):
        method("kd", temperature=-3)
    with pytest.raises(UserError, match=r"^methods\.0\.temperature: must be a number, not 'hot'$"):
        method("kd", temperature="hot")
    with pytest.raises(UserError, match=r"^anchor: weight must be 0 or more, not -1\.0$"):
        anchor("reference_kl", weight=-1)
    with pytest.raises(UserError, match=r"^anchor\.tcp: must be 'probability', .* not 'foo'$"):
        anchor("reference_kl", tcp="foo")


def test_unknown_names() -> None:
    with pytest.raises(UserError, match=r"^methods\.0: unknown method 'kdd'; did you mean 'kd'\?$"):
        method("kdd")
    with pytest.raises(UserError, match=r"^methods\.0: method 'no\.such:Thing': cannot import 'no\.such'"):
        method("no.such:Thing")
    with pytest.raises(UserError, match=r"^anchor: unknown anchor 'reference_k'; did you mean 'reference_kl'\?$"):
        anchor("reference_k")
    with pytest.raises(UserError, match=r"^anchor: anchor 'smskd\.methods\.kd:KD' is not a subclass of .*Anchor$"):
        anchor("smskd.methods.kd:KD")
