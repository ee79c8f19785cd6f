"""From a name and hyper-parameters in a recipe to the object: a method, an anchor."""

from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from smskd.errors import UserError, nearest
from smskd.interfaces.terms import Anchor, Method
from smskd.recipe.messages import mistake
from smskd.recipe.spec import ComponentSpec
from smskd.registry import ANCHORS, METHODS


def method_of(spec: ComponentSpec, where: str) -> Method:
    """The method that a recipe names, with its hyper-parameters.

    Raises:
        UserError: unknown method, unknown hyper-parameter, value of a wrong type or out of range.
    """
    try:
        cls = METHODS.find(spec.name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    method: Method = _constructed(cls, spec, where)
    return method


def anchor_of(spec: ComponentSpec | None, where: str) -> Anchor | None:
    """The anchor that a recipe names; None for none.

    Raises:
        UserError: as :func:`method_of`.
    """
    if spec is None:
        return None
    try:
        cls = ANCHORS.find(spec.name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    anchor: Anchor = _constructed(cls, spec, where)
    return anchor


def hyperparameters(component: Any) -> dict[str, Any]:
    """The fields of a method or anchor, as they stand in a resolved recipe."""
    return {field.name: getattr(component, field.name) for field in fields(component)}


def _constructed(cls: type[Any], spec: ComponentSpec, where: str) -> Any:
    valid = [field.name for field in fields(cls)]
    for key in spec.hyperparameters:
        if key not in valid:
            hint = nearest(key, valid) if valid else "; it has none"
            raise UserError(f"{where}.{key}: unknown hyper-parameter of {spec.name}{hint}")
    try:
        return TypeAdapter(cls).validate_python(spec.hyperparameters)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join([where, *(str(part) for part in first["loc"])])
        raise UserError(f"{path}: {mistake(first)}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
