"""From YAML and the command line to a :class:`Recipe`, and back; every mistake told with its place."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from smskd.errors import UserError, nearest
from smskd.recipe import shipped
from smskd.recipe.spec import DEFAULT_ANCHOR, ComponentSpec, Recipe


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: ``1e-3`` is a number, which YAML 1.1 (PyYAML) reads as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a YAML file, its bases merged in and the overrides applied.

    Args:
        path: a file, or the name of a recipe that comes with the package (``digits/fitnet-kd.yaml``).
        overrides: ``key.path=value`` each, the value in YAML.

    Raises:
        UserError: anything that is wrong with the file or an override, with its place.
    """
    file = locate(path)
    raw = _with_bases(file)
    raw.setdefault("name", file.stem)
    return parse(overridden(raw, overrides), source=str(path))


def parse(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """The recipe of a mapping.

    Raises:
        UserError: unknown key, wrong type or value out of range, with the key's path.
    """
    try:
        return Recipe.model_validate(_normalised(raw))
    except ValidationError as error:
        raise UserError(f"{source}: {_explained(error, raw)}") from None


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def locate(path: str | Path) -> Path:
    """The file of a recipe, in the working folder or among those that come with the package.

    Raises:
        UserError: there is no such file.
    """
    given = Path(path)
    inside = Path(*given.parts[1:]) if given.parts[:1] == ("recipes",) else given
    candidates = [given] + ([] if given.is_absolute() else [folder / inside for folder in shipped.FOLDERS])
    for candidate in candidates:
        for file in (candidate, candidate.with_name(candidate.name + ".yaml")):
            if file.is_file():
                return file
    if given.is_dir():
        raise UserError(f"{path} is a folder; a recipe is a YAML file, such as {given / 'NAME.yaml'}")
    raise UserError(f"{path}: no such recipe file")


def load_yaml(text: str, source: str) -> Any:
    """The value of a YAML text, with ``1e-3`` a number.

    Raises:
        UserError: the text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{place}: not valid YAML ({getattr(error, 'problem', error)})") from None


def overridden(raw: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The mapping with each ``key.path=value`` set in it; numbers in a path index lists.

    Raises:
        UserError: an override that is not of this form, or a path that leads nowhere.
    """
    result = _written_out(raw)
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals or not path:
            raise UserError(f"'{override}' is not of the form key.path=value")
        _set(result, path.split("."), load_yaml(value, path), override)
    return result


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``base``, mapping by mapping; ``methods`` and ``stages`` replace each other."""
    result = dict(base)
    for one, other in (("methods", "stages"), ("stages", "methods")):
        if over.get(one) is not None:
            result.pop(other, None)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _with_bases(file: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    if file.resolve() in seen:
        raise UserError(f"{file}: its bases lead back to itself")
    raw = load_yaml(file.read_text(encoding="utf-8"), str(file))
    if not isinstance(raw, Mapping):
        raise UserError(f"{file}: a recipe is a mapping of keys, this is {_kind(raw)}")
    own = dict(raw)
    bases = own.pop("base", None) or []
    result: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        beside = file.parent / base
        if not beside.is_file():
            raise UserError(f"{file}: base: {beside} does not exist")
        result = merged(result, _with_bases(beside, (*seen, file.resolve())))
    return merged(result, own)


def _set(raw: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for one, other in (("methods", "stages"), ("stages", "methods")):
        if keys == [one] and value is not None:
            raw.pop(other, None)
    here: Any = raw
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(here, list):
            if not key.isdigit() or int(key) >= len(here):
                where = ".".join(keys[:position])
                raise UserError(f"'{override}': {where} is a list of {len(here)}, '{key}' is not one of its places")
            slot: Any = int(key)
        elif isinstance(here, dict):
            slot = key
        else:
            raise UserError(f"'{override}': {'.'.join(keys[:position])} is {_kind(here)} and has no keys")
        if last:
            here[slot] = value
        else:
            if isinstance(here, dict) and here.get(slot) is None:
                here[slot] = {}
            here = here[slot]


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _written_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Shorthands written out: a model, a data set, an anchor or a method by its name alone, a comma list of methods."""
    result: dict[str, Any] = _copied(raw)
    for key, field in (("teacher", "model"), ("student", "model"), ("data", "name"), ("anchor", "name")):
        if isinstance(result.get(key), str):
            result[key] = {field: result[key]}
    stages = result.get("stages")
    for holder in [result, *(stages if isinstance(stages, list) else [])]:
        if not isinstance(holder, dict):
            continue
        if holder.get("methods") is not None:
            holder["methods"] = _methods(holder["methods"])
        if isinstance(holder.get("anchor"), str):
            holder["anchor"] = {"name": holder["anchor"]}
    return result


def _normalised(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Written out, and each stage's anchor, which may change single keys of the recipe's, in full."""
    result = _written_out(raw)
    if result.get("methods") is not None and result.get("stages") is not None:
        raise UserError("give either methods or stages, not both")
    common = result.get("anchor", {})
    stages = result.get("stages")
    if isinstance(common, dict):
        common.setdefault("name", DEFAULT_ANCHOR)
    for stage in stages if isinstance(stages, list) else []:
        anchor = stage.get("anchor") if isinstance(stage, dict) else None
        if isinstance(anchor, dict):
            same = isinstance(common, dict) and anchor.get("name", common["name"]) == common["name"]
            stage["anchor"] = {"name": DEFAULT_ANCHOR, **(common if same else {}), **anchor}
    return result


def _methods(value: Any) -> Any:
    if value == "none":
        return []
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if isinstance(value, dict):
        value = [value]
    return [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value


def _explained(error: ValidationError, raw: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(first['loc'][-1]), _keys_at(first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"{path}: this key is needed"
    message = (first["msg"][0].lower() + first["msg"][1:]).replace("valid tuple", "list")
    given = first.get("input")
    return f"{path}: {message}" + ("" if isinstance(given, dict | list) else f", not {given!r}")


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the record at a place of a recipe."""
    record: type[BaseModel] = Recipe
    for part in location:
        if isinstance(part, str) and part in record.model_fields:
            record = _record_in(record.model_fields[part].annotation) or record
    return list(record.model_fields)


def _record_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _record_in(part)
        if found is not None and not issubclass(found, ComponentSpec):
            return found
    return None


def _kind(value: Any) -> str:
    return "empty" if value is None else f"a {type(value).__name__}"
