"""From a YAML file to a sweep, and from a sweep to recipes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from smskd.config.messages import kind_of, mistake, place_of, shortened
from smskd.config.sweep import SweepConfig
from smskd.errors import UserError, nearest
from smskd.recipe import Recipe, parse
from smskd.recipe.files import load_with_bases, locate
from smskd.recipe.names import check_names
from smskd.recipe.overrides import overridden
from smskd.recipe.shipped import sweep_file
from smskd.recipe.yaml_text import load_yaml


@dataclass(frozen=True)
class Sweep:
    """A sweep that has been read.

    Attributes:
        config: what it says.
        recipe: the mapping of its recipe, merged with its bases.
    """

    config: SweepConfig
    recipe: Mapping[str, Any]

    def made(self, changes: Mapping[str, Any]) -> Recipe:
        """The recipe with changes, each a value by its key; nothing that it names has been imported.

        Raises:
            UserError: a change is no change of this recipe.
        """
        overrides = [f"{key}={json.dumps(value)}" for key, value in {**self.config.set, **changes}.items()]
        recipe = parse(overridden(self.recipe, overrides), self.config.name)
        check_names(recipe)
        return recipe

    def as_mapping(self) -> dict[str, Any]:
        """In types of JSON, for another machine."""
        return {"config": _ADAPTER.dump_python(self.config, mode="json"), "recipe": dict(self.recipe)}

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> "Sweep":
        """The result of :meth:`as_mapping`, read again."""
        return cls(_ADAPTER.validate_python(mapping["config"]), mapping["recipe"])


_ADAPTER = TypeAdapter(SweepConfig)


def read_sweep(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a YAML file.

    Args:
        path: a file, or the name of a sweep of the package.
        overrides: ``key.path=value`` each, of the recipe in every run.

    Raises:
        UserError: a mistake in the file, with its place.
    """
    file = sweep_file(Path(path))
    try:
        raw = load_yaml(file.read_text(encoding="utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(raw, Mapping):
        raise UserError(f"{path}: a sweep is a mapping of keys, this is {kind_of(raw)}")
    own = {"name": file.stem, **raw}
    own["set"] = {**(own.get("set") or {}), **dict(map(_override, overrides))}
    try:
        config = _ADAPTER.validate_python(own)
    except ValidationError as error:
        first = error.errors()[0]
        where = shortened(place_of(first))
        if first["type"] == "unexpected_keyword_argument":
            raise UserError(f"{path}: {where}: unknown key{nearest(where, _KEYS)}") from None
        raise UserError(f"{path}: {where}: {mistake(first)}" if where else f"{path}: {mistake(first)}") from None
    return _with_recipe(config, file.parent)


def sweep_of(config: SweepConfig, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of settings that a program gives.

    Args:
        config: its recipe is a file, relative to the working folder, or the name of a recipe of the package.
        overrides: as in :func:`read_sweep`.

    Raises:
        UserError: there is no such recipe, or it is damaged.
    """
    return _with_recipe(replace(config, set={**config.set, **dict(map(_override, overrides))}), Path())


def _with_recipe(config: SweepConfig, folder: Path) -> Sweep:
    beside = folder / config.recipe
    return Sweep(config, load_with_bases(beside if beside.is_file() else locate(config.recipe)))


_KEYS = tuple(SweepConfig.__dataclass_fields__)


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value.strip():
        raise UserError(f"'{shortened(text)}' is not of the form key.path=value")
    return key, load_yaml(value, f"'{shortened(text)}'")
