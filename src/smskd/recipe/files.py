"""Recipe files: where they are found, and how their bases are merged."""

from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from smskd.config.messages import kind_of
from smskd.errors import UserError
from smskd.recipe import shipped
from smskd.recipe.yaml_text import load_yaml, size_limit, too_large

MOST_FILES = 100
"""Files that a recipe and its bases may be read from, a base that is read twice counted twice."""


def locate(path: str | Path) -> Path:
    """The file of a recipe: relative to the working folder, otherwise one of the package; ``.yaml`` may be omitted.

    Raises:
        UserError: there is no such file.
    """
    if not str(path):
        raise UserError("the name of a recipe is empty")
    given = Path(path)
    found = _file(given) or shipped.find(given)
    if found is not None:
        return found
    with suppress(OSError, ValueError):
        if given.is_dir():
            raise UserError(f"{path} is a folder; a recipe is a YAML file, such as {given / 'NAME.yaml'}")
        if given.exists():
            raise UserError(f"{path} is no regular file; a recipe is a YAML file")
    close = get_close_matches(str(path), shipped.names(), n=1)
    hint = f"did you mean '{close[0]}'?" if close else "smskd recipe lists those of the package"
    raise UserError(f"{path}: no such recipe file; {hint}")


def load_with_bases(file: Path) -> dict[str, Any]:
    """The mapping of a recipe file, laid on those of its bases. ``name`` is that of the file unless it is given.

    Raises:
        UserError: a file cannot be read or is not a mapping, or a base does not exist or leads back to its file.
    """
    return _BaseReader().with_bases(file, ())


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``base``: mappings are merged recursively, everything else is replaced.

    ``methods`` replaces the ``stages`` of the base, and vice versa. The arguments are not changed.
    """
    result = dict(base)
    for one, other in (("methods", "stages"), ("stages", "methods")):
        if over.get(one) is not None:
            result.pop(other, None)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


class _BaseReader:
    """Reads a recipe and its bases, no more of them than the limits allow: bases may have bases in common."""

    def __init__(self) -> None:
        self.files = 0
        self.characters = 0

    def with_bases(self, file: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
        if file.resolve() in seen:
            raise UserError(f"{file}: its bases lead back to itself")
        raw = load_yaml(self._text(file), str(file))
        if not isinstance(raw, Mapping):
            raise UserError(f"{file}: a recipe is a mapping of keys, this is {kind_of(raw)}")
        own = {"name": file.stem, **raw}
        result: dict[str, Any] = {}
        for base in _bases(own.pop("base", None), file):
            result = merged(result, self.with_bases(base, (*seen, file.resolve())))
        return merged(result, own)

    def _text(self, file: Path) -> str:
        text = _read_text(file)
        self.files += 1
        self.characters += len(text)
        if self.files > MOST_FILES:
            raise UserError(f"{file}: the recipe has more than {MOST_FILES} bases, those of its bases included")
        if self.characters > size_limit():
            raise UserError(too_large(str(file), " together with the recipes that it is a base of"))
        return text


def _bases(value: Any, file: Path) -> list[Path]:
    """The files that ``base`` names, relative to the file or in the package."""
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
    candidates = (path, path.with_name(path.name + ".yaml")) if path.name else (path,)
    return next((file for file in candidates if shipped.is_file(file)), None)


def _read_text(file: Path) -> str:
    limit = size_limit()
    try:
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise UserError(too_large(str(file)))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {line}: not a text file in UTF-8") from None
