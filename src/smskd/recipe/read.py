"""From a YAML file, or a mapping, to a :class:`Recipe`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from smskd.config.messages import mistake, place_of, shortened
from smskd.errors import UserError
from smskd.recipe.files import load_with_bases, locate
from smskd.recipe.names import check_names
from smskd.recipe.old_keys import check_old_keys
from smskd.recipe.overrides import overridden
from smskd.recipe.recipe import Recipe
from smskd.recipe.shorthands import expanded, normalised
from smskd.recipe.unknown_keys import suggestion
from smskd.recipe.yaml_text import load_yaml, to_yaml

__all__ = ["load_yaml", "parse", "read", "to_yaml"]


def read(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a YAML file, merged with its bases, with overrides.

    Args:
        path: a file, or the name of a recipe of the package (``digits/fitnet-kd.yaml``).
        overrides: ``key.path=value`` each, the value in YAML.

    Raises:
        UserError: a mistake in the file or in an override, with its place; a name that stands for nothing.
    """
    raw = load_with_bases(locate(path))
    recipe = parse(overridden(raw, overrides), source=str(path))
    check_names(recipe)
    return recipe


def parse(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """The recipe of a mapping.

    Args:
        raw: as YAML has it, with or without shorthands.
        source: its file, for messages.

    Raises:
        UserError: an unknown key, a value of a wrong type or out of range, with the path of the key.
    """
    try:
        check_old_keys(expanded(raw))
        return _ADAPTER.validate_python(normalised(raw))
    except ValidationError as error:
        raise UserError(f"{source}: {_explained(error)}") from None
    except RecursionError:
        raise UserError(f"{source}: mappings and lists are nested too deeply") from None
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    path = shortened(place_of(first))
    if first["type"] == "unexpected_keyword_argument":
        return f"{path}: unknown key{suggestion(first['loc'])}"
    return f"{path}: {mistake(first)}" if path else mistake(first)


_ADAPTER = TypeAdapter(Recipe)
