"""The options of a data source, checked against the parameters of its callable."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from smskd.config.data import SubsetConfig
from smskd.config.messages import mistake, shown
from smskd.config.numbers import is_boolean_as_number
from smskd.errors import UserError, nearest

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def checked_options(
    factory: Callable[..., Any], name: str, options: Mapping[str, Any], where: str = "data.source"
) -> dict[str, Any]:
    """The options in the types that the callable's hints ask for.

    Args:
        factory: the data source.
        name: its name, for messages.
        options: by name.
        where: key of the source in a recipe, for messages.

    Raises:
        UserError: an option is unknown, is missing or has a wrong value: `data.source.roots: unknown option of
            cifar10; did you mean 'root'?`
    """
    parameters = _parameters(factory)
    if parameters is None:
        return dict(options)
    passed = (takes_subset(factory) and "subset", takes_track(factory) and "track")
    valid = {key: value for key, value in parameters.items() if value.kind in _BY_NAME and key not in passed}
    if not any(value.kind is inspect.Parameter.VAR_KEYWORD for value in parameters.values()):
        for key in options:
            if key not in valid:
                hint = nearest(key, valid) if valid else "; it has none"
                raise UserError(f"{where}.{key}: unknown option of {name}{hint}")
    for key, parameter in valid.items():
        if parameter.default is parameter.empty and key not in options:
            raise UserError(f"{where}.{key}: {name} needs this option")
    hints = _hints(factory)
    return {
        key: _checked(f"{where}.{key}", value, hints[key]) if key in hints else value for key, value in options.items()
    }


def takes_subset(factory: Callable[..., Any]) -> bool:
    """Whether the callable has a parameter ``subset`` of the type :class:`~smskd.config.data.SubsetConfig`."""
    hint = _hints(factory).get("subset")
    return SubsetConfig in (hint, *get_args(hint))


def takes_streaming(factory: Callable[..., Any]) -> bool:
    """Whether the callable has an option ``streaming`` that is true or false, or by default neither."""
    return set(get_args(_hints(factory).get("streaming"))) == {bool, type(None)}


def resizes(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Whether a source with an option ``streaming`` brings pictures to a size: one of its options, or their default.

    Args:
        factory: of the source.
        arguments: that it is given.
    """
    parameters = _parameters(factory) or {}
    if "streaming" not in parameters:
        return False
    given = [
        arguments.get(name, parameters[name].default) for name in ("image_size", "shorter_side") if name in parameters
    ]
    return any(value is not None for value in given)


def takes_track(factory: Callable[..., Any]) -> bool:
    """Whether the callable has a parameter ``track``."""
    return "track" in (_parameters(factory) or ())


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a callable by name; None where Python cannot inspect it."""
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return None


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    target = factory.__init__ if inspect.isclass(factory) else factory
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError):  # hints of names that exist for type checkers only
        return {}


def _checked(key: str, value: Any, hint: Any) -> Any:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
    except PydanticUserError:  # a type that pydantic has no rule for
        return value
    try:
        read = adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join([key, *(str(part) for part in first["loc"] if isinstance(part, int))])
        raise UserError(f"{path}: {mistake(first)}") from None
    if is_boolean_as_number(value, read):
        raise UserError(f"{key}: must be a number, not {shown(value)}")
    return read
