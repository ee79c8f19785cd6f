"""The YAML of recipes: plain values, without tags, within limits.

A number, boolean or text is recognised as in YAML 1.2: ``1e-3`` is a number, which YAML 1.1 (PyYAML) reads as a text;
``on``, ``off``, ``1:30`` and dates are texts, and ``010`` is ten.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from smskd.config.plain_values import BITS, DEEPEST, problem_in

_TAG = "tag:yaml.org,2002:"
_TOO_DEEP = f"more than {DEEPEST} levels of lists and mappings"


_NULL = (f"{_TAG}null", re.compile("^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_BOOL = (f"{_TAG}bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_INT = (f"{_TAG}int", re.compile("^[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)$"), list("-+0123456789"))
_FLOAT = (
    f"{_TAG}float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+"
        r"|[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


class Loader(yaml.SafeLoader):
    """Builds plain values; a key that occurs twice, a tag, a circle or a value beyond the limits is an error.

    Attributes:
        limit: characters of the document with its aliases written out.
    """

    limit: int

    def __init__(self, text: str, limit: int) -> None:
        super().__init__(text)
        self.limit = limit
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The node of the next event, with its depth and its tag checked."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            problem = f"tags such as {tag.replace(_TAG, '!!')} are not supported; write the value alone"
            raise _error(problem, event.start_mark)
        if self._depth > DEEPEST:
            raise _error(_TOO_DEEP, event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def get_single_data(self) -> Any:
        """The value of the document."""
        node = self.get_single_node()
        if node is None:
            return None
        self._check_size(node)
        return self.construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, whose keys are texts and differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                written = key.value if isinstance(key, yaml.ScalarNode) else "of a list or mapping"
                raise _error(f"the key {written} must be a text, in quotes", key.start_mark)
            if key.value in seen:
                raise _error(f"the key '{key.value}' occurs twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; a number or text that no setting can hold is an error."""
        value = super().construct_object(node, deep)
        if isinstance(value, str | int) and (problem := problem_in(value, "")):
            raise _error(f"a value that {problem.reason}", node.start_mark)
        return value

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """A whole number."""
        digits = str(node.value).replace("_", "")
        if len(digits.lstrip("-+0")) > BITS + 2:
            raise _error(f"a value that is a number of more than {BITS} bits", node.start_mark)
        return int(digits, 0 if re.match("[-+]?0[xob]", digits) else 10)

    def _check_size(self, root: yaml.Node) -> None:
        """Measures the document with its aliases written out."""
        extents: dict[int, _Extent | None] = {}

        def extent(node: yaml.Node) -> _Extent:
            if id(node) not in extents:
                extents[id(node)] = None
                extents[id(node)] = _extent_of(node, extent)
            found = extents[id(node)]
            if found is None:
                raise _error("an alias within its own anchor", node.start_mark)
            if found.levels > DEEPEST:
                raise _error(_TOO_DEEP, node.start_mark)
            return found

        if extent(root).characters > self.limit:
            raise TooLargeError


class _Extent(NamedTuple):
    """The characters of a value and the levels of lists and mappings in it."""

    characters: int
    levels: int


def _extent_of(node: yaml.Node, extent: Callable[[yaml.Node], _Extent]) -> _Extent:
    if isinstance(node, yaml.ScalarNode):
        return _Extent(len(node.value) + 2, 0)
    pairs = node.value if isinstance(node, yaml.MappingNode) else [(child,) for child in node.value]
    parts = [extent(child) for pair in pairs for child in pair]
    return _Extent(2 + sum(part.characters for part in parts), 1 + max((part.levels for part in parts), default=0))


class TooLargeError(yaml.YAMLError):
    """A document beyond the limit of characters."""


class Dumper(yaml.SafeDumper):
    """Quotes texts that the loader, or one of YAML 1.1, would read as something else, such as ``1e-3``."""

    def ignore_aliases(self, data: Any) -> bool:
        """Values that occur twice are written twice."""
        return True


def _error(problem: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


Loader.yaml_implicit_resolvers = {}
Loader.add_implicit_resolver(f"{_TAG}merge", re.compile("^<<$"), ["<"])
for _tag, _pattern, _starts in (_NULL, _BOOL, _INT, _FLOAT):
    Loader.add_implicit_resolver(_tag, _pattern, _starts)
    Dumper.add_implicit_resolver(_tag, _pattern, _starts)
Loader.add_constructor(f"{_TAG}int", Loader.construct_int)
Loader.add_constructor(f"{_TAG}merge", lambda _, node: str(node.value))
