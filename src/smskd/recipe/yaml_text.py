"""YAML as recipes use it, read and written so that every value survives the round trip."""

import os
from collections.abc import Mapping
from typing import Any

import yaml

from smskd.config.sizes import in_bytes
from smskd.errors import UserError, printable
from smskd.recipe.yaml_loader import Dumper, Loader, TooLargeError

LIMIT_VARIABLE = "SMSKD_RECIPE_LIMIT"
_LIMIT = "200kB"


def size_limit() -> int:
    """Characters that a recipe may have, with its bases and with aliases written out: 200,000, or SMSKD_RECIPE_LIMIT.

    Raises:
        UserError: the environment variable is no size.
    """
    try:
        return in_bytes(os.environ.get(LIMIT_VARIABLE) or _LIMIT)
    except UserError as error:
        raise UserError(f"{LIMIT_VARIABLE}: {error}") from None


def load_yaml(text: str, source: str) -> Any:
    """The value of a YAML text.

    Args:
        text: YAML.
        source: its file or override, for messages.

    Raises:
        UserError: the text is not valid YAML, a key occurs twice in a mapping, there are tags, or it is too large or
            nested too deeply.
    """
    limit = size_limit()
    if len(text) > limit:
        raise UserError(too_large(source))
    try:
        loader = Loader(text, limit)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except TooLargeError:
        raise UserError(too_large(source, " once its aliases are written out")) from None
    except yaml.YAMLError as error:
        line, problem = _explained(error, text)
        place = f", line {line}" if line and "\n" in text.strip() else ""
        raise UserError(f"{source}{place}: not valid YAML ({problem})") from None


def to_yaml(value: Mapping[str, Any]) -> str:
    """A mapping as YAML, in the order of its keys; :func:`load_yaml` gives an equal one."""
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True))


def too_large(source: str, when: str = "") -> str:
    """The message for a text beyond the limit."""
    return f"{source}: larger than {size_limit():,} characters{when}; {LIMIT_VARIABLE} raises this limit"


def _explained(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line, counted from 1, and the reason."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, int(error.position)) + 1
        return line, f"contains the control character {printable(chr(int(error.character)))}"
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", error)).replace("<stream end>", "the end")
    return (mark.line + 1 if mark else 0), printable(problem)
