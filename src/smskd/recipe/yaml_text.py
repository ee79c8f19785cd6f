"""YAML as recipes use it, read and written so that every value survives the round trip."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from smskd.errors import UserError


class _Loader(yaml.SafeLoader):
    """A number, boolean or text is recognised as in YAML 1.2: ``1e-3`` is a number, which YAML 1.1 (PyYAML) reads as a
    text; ``on``, ``off`` and dates are texts. A key that occurs twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' occurs twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that the loader would read as numbers, such as ``1e-3``."""


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in pairs if tag.rpartition(":")[2] not in ("timestamp", "bool")]
    for start, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def load_yaml(text: str, source: str) -> Any:
    """The value of a YAML text.

    Args:
        text: YAML.
        source: its file or override, for messages.

    Raises:
        UserError: the text is not valid YAML, or a key occurs twice in a mapping.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark and "\n" in text.strip() else ""
        problem = str(getattr(error, "problem", error)).replace("<stream end>", "the end")
        raise UserError(f"{source}{place}: not valid YAML ({problem})") from None


def to_yaml(value: Mapping[str, Any]) -> str:
    """A mapping as YAML, in the order of its keys; :func:`load_yaml` gives an equal one."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
