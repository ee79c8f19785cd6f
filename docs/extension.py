"""Converts docstrings for mkdocstrings.

Roles such as ``:func:`smskd.distill``` become links, Example becomes a section, and an entry for several names an entry
for each.
"""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
_SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)", re.MULTILINE)
"""``    epochs, batch_size: of the whole run.`` with the lines that continue it."""
_ROLE = re.compile(r":(?:func|class|meth|attr|mod|data):`(?P<short>~?)(?:(?P<title>[^`<>]+) <)?(?P<name>[\w.]+)>?`")


class HouseStyle(griffe.Extension):
    """Rewrites docstrings. A role becomes a link if its target is documented, and code otherwise."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites an object's docstring."""
        if obj.docstring is not None:
            value = _EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            value = _SEVERAL.sub(_split, value)
            obj.docstring.value = _ROLE.sub(lambda role: _link(obj, role), value)


def _split(entry: re.Match[str]) -> str:
    indent, names, text = entry.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))


def _link(obj: griffe.Object, role: re.Match[str]) -> str:
    name = role["name"]
    shown = role["title"] or (name.rpartition(".")[2] if role["short"] else name)
    return f'<autoref optional identifier="{_path(obj, name)}"><code>{shown}</code></autoref>'


def _path(obj: griffe.Object, name: str) -> str:
    try:
        return obj.resolve(name)
    except griffe.NameResolutionError:
        return name
