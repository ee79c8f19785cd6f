"""From YAML and the command line to a :class:`Recipe`, and back; every mistake told with its place."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from smskd.config.messages import kind_of, mistake
from smskd.errors import UserError, nearest
from smskd.recipe import shipped
from smskd.recipe.old_keys import new_key
from smskd.recipe.recipe import DEFAULT_ANCHOR, Recipe


class _Loader(yaml.SafeLoader):
    """YAML 1.2 where it matters: ``1e-3`` is a number, which YAML 1.1 (PyYAML) reads as a text; a date, ``on`` and
    ``off`` are texts; and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key.value}' stands there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the text ``1e-3``, which the loader would read as a number."""


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in pairs if tag.rpartition(":")[2] not in ("timestamp", "bool")]
    for start, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )
    _side.add_implicit_resolver(
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
    return parse(overridden(raw, overrides), source=str(path))


def parse(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """The recipe of a mapping.

    Raises:
        UserError: unknown key, wrong type or value out of range, with the key's path.
    """
    try:
        return _ADAPTER.validate_python(_normalised(raw))
    except ValidationError as error:
        raise UserError(f"{source}: {_explained(error)}") from None
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def to_yaml(value: Mapping[str, Any]) -> str:
    """A recipe's mapping as YAML."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def locate(path: str | Path) -> Path:
    """The file of a recipe, in the working folder or among those that come with the package.

    Raises:
        UserError: there is no such file.
    """
    given = Path(path)
    found = _file(given) or shipped.find(given)
    if found is not None:
        return found
    if given.is_dir():
        raise UserError(f"{path} is a folder; a recipe is a YAML file, such as {given / 'NAME.yaml'}")
    close = get_close_matches(str(path), shipped.names(), n=1)
    hint = f"did you mean '{close[0]}'?" if close else "smskd recipe lists those that come with the package"
    raise UserError(f"{path}: no such recipe file; {hint}")


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        UserError: it cannot be read, or is no text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file}: not a text file") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def load_yaml(text: str, source: str) -> Any:
    """The value of a YAML text, with ``1e-3`` a number.

    Raises:
        UserError: the text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark and "\n" in text.strip() else ""
        problem = str(getattr(error, "problem", error)).replace("<stream end>", "the end")
        raise UserError(f"{source}{place}: not valid YAML ({problem})") from None


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
        _set(result, path.split("."), load_yaml(value, f"'{override}'"), override)
        result = _written_out(result)  # for what follows: methods=fitnet,kd methods.1.temperature=2
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
    raw = load_yaml(read_text(file), str(file))
    if not isinstance(raw, Mapping):
        raise UserError(f"{file}: a recipe is a mapping of keys, this is {kind_of(raw)}")
    own = {"name": file.stem, **raw}
    result: dict[str, Any] = {}
    for base in _bases(own.pop("base", None), file):
        result = merged(result, _with_bases(base, (*seen, file.resolve())))
    return merged(result, own)


def _bases(value: Any, file: Path) -> list[Path]:
    """The files that ``base`` names: beside the file, or among those that come with the package."""
    names = [] if value is None else value if isinstance(value, list) else [value]
    found = []
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"{file}: base: must be the name of a recipe file or a list of them, not {kind_of(name)}")
        beside = file.parent / name
        base = _file(beside) or shipped.find(Path(name))
        if base is None:
            raise UserError(f"{file}: base: {beside} does not exist")
        found.append(base)
    return found


def _file(path: Path) -> Path | None:
    return next((file for file in (path, path.with_name(path.name + ".yaml")) if file.is_file()), None)


def _set(raw: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for one, other in (("methods", "stages"), ("stages", "methods")):
        if keys == [one] and value is not None:
            raw.pop(other, None)
    here: Any = raw
    for position, key in enumerate(keys):
        last, path = position == len(keys) - 1, ".".join(keys[:position])
        if isinstance(here, list):
            if not key.isdecimal() or int(key) >= len(here):
                raise UserError(f"'{override}': {path} is a list of {len(here)}, '{key}' is not one of its places")
            slot: Any = int(key)
        elif isinstance(here, dict):
            slot = key
        else:
            raise UserError(f"'{override}': {path} is {kind_of(here)} and has no keys")
        if last:
            here[slot] = value
            return
        if isinstance(here, dict) and here.get(slot) is None:
            if keys[position + 1].isdecimal():
                instead = "; it has methods" if key == "stages" and raw.get("methods") else ""
                raise UserError(f"'{override}': the recipe has no list {'.'.join(keys[: position + 1])}{instead}")
            here[slot] = {}
        here = here[slot]


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _written_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Shorthands written out: a model, a data source, an anchor or a method by its name alone, a comma list of
    methods."""
    result: dict[str, Any] = _copied(raw)
    if isinstance(result.get("data"), str):
        result["data"] = {"source": result["data"]}
    stages = result.get("stages")
    holders = [result, *(stages if isinstance(stages, list) else [])]
    for holder in (holder for holder in holders if isinstance(holder, dict)):
        for key in ("teacher", "student", "anchor", "strategy"):
            _name_alone(holder, key)
        if holder.get("methods") is not None:
            holder["methods"] = _methods(holder["methods"])
    _name_alone(result.get("data"), "source")
    return result


def _name_alone(holder: Any, key: str) -> None:
    if isinstance(holder, dict) and isinstance(holder.get(key), str):
        holder[key] = {"name": holder[key]}


def _normalised(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Written out, and each stage's anchor, which may change single keys of the recipe's, in full."""
    result = _written_out(raw)
    if result.get("methods") is not None and result.get("stages") is not None:
        raise UserError("give either methods or stages, not both")
    common = result.get("anchor", {})
    stages = result.get("stages")
    if isinstance(common, dict):
        common.setdefault("name", DEFAULT_ANCHOR.name)
    for stage in stages if isinstance(stages, list) else []:
        anchor = stage.get("anchor") if isinstance(stage, dict) else None
        if isinstance(anchor, dict):
            same = isinstance(common, dict) and anchor.get("name", common["name"]) == common["name"]
            stage["anchor"] = {"name": DEFAULT_ANCHOR.name, **(common if same else {}), **anchor}
    return result


def _methods(value: Any) -> Any:
    if value == "none":
        return []
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if isinstance(value, dict):
        value = [value]
    return [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        renamed = new_key(path)
        hint = f"; it is now {renamed}" if renamed else nearest(str(first["loc"][-1]), _keys_at(first["loc"][:-1]))
        return f"{path}: unknown key{hint}"
    return f"{path}: {mistake(first)}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the settings at a place of a recipe."""
    here: type[Any] = Recipe
    for part in location:
        if isinstance(part, str):
            here = _settings_in(get_type_hints(here).get(part)) or here
    return [field.name for field in fields(here)]


def _settings_in(hint: Any) -> type[Any] | None:
    """The dataclass of settings in a type hint such as ``tuple[StageConfig, ...] | None``."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for part in get_args(hint) if (found := _settings_in(part)) is not None), None)


_ADAPTER = TypeAdapter(Recipe)
