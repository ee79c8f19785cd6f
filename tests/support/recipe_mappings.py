"""Mappings that look like recipes, generated from the dataclasses of the settings: valid, borderline and wrong."""

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from smskd.recipe import Recipe
from smskd.registry import ANCHORS, METHODS, STRATEGIES

NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 64, 10**6, 10**9 + 1, 10**12, 2**31, 2**63, 10**30, True])
REALS = st.sampled_from([-1.0, 0.0, 1e-9, 0.1, 0.5, 1.0, 1e300, float("inf"), float("nan")])
NAMES = ("kd", "resnet8_w2", "digits", "auto", "none", "inherit", "null", "a:b", "..a:b", "os:path", "<x>")
STRANGE = ("", "5/8", "1/0", "~nobody-here/x", "16GB", "[", "a\x1bb", "\ud800", "a\nb", "x" * 3000, "9" * 400)
TEXTS = st.sampled_from(NAMES + STRANGE)
ODD = st.one_of(
    st.none(),
    NUMBERS,
    REALS,
    TEXTS,
    st.lists(st.one_of(NUMBERS, TEXTS), max_size=3),
    st.dictionaries(st.sampled_from(["name", "a", "weight"]), st.one_of(NUMBERS, TEXTS), max_size=2),
)
"""Values of any kind, for any key."""

_COMPONENTS = {
    "methods": [*METHODS.names(), "kdd"],
    "anchor": [*ANCHORS.names(), "inherit"],
    "strategy": [*STRATEGIES.names(), "nosuch"],
}
_OPTIONS = st.dictionaries(st.sampled_from(["weight", "temperature", "beta", "rank", "nosuch"]), ODD, max_size=2)


def recipes() -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with data and student, and other keys of a recipe."""
    base = {"data": st.just({"source": {"name": "digits"}}), "student": st.just({"name": "resnet8_w2"})}
    return st.builds(lambda some, needed: needed | some, _settings(Recipe), st.fixed_dictionaries(base))


def _settings(cls: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys of a dataclass, rarely another one, most values of the right kind."""
    hints = get_type_hints(cls)
    keys = {field.name: _value(hints[field.name], field.name) for field in fields(cls)}
    few = st.lists(st.sampled_from(sorted(keys)), max_size=3, unique=True)
    some = few.flatmap(lambda names: st.fixed_dictionaries({name: keys[name] for name in names}))
    stray = st.dictionaries(st.sampled_from(["epohcs", "x", "a.b", ""]), ODD, max_size=1)
    return st.builds(lambda usual, rest, odd: usual | rest if odd == 0 else usual, some, stray, st.integers(0, 9))


def _value(hint: Any, key: str) -> st.SearchStrategy[Any]:
    return st.integers(0, 7).flatmap(lambda odd: ODD if odd == 0 else _right(hint, key))


def _right(hint: Any, key: str) -> st.SearchStrategy[Any]:
    """Values of the kind of a type hint, within its range or not."""
    if key in _COMPONENTS:
        one = st.builds(lambda name, more: {"name": name, **more}, st.sampled_from(_COMPONENTS[key]), _OPTIONS)
        return st.lists(one, max_size=3) if key == "methods" else one
    if isinstance(hint, type) and is_dataclass(hint):
        return st.deferred(lambda: _settings(hint))
    if get_origin(hint) in (Union, UnionType):
        return st.one_of([_right(option, key) for option in get_args(hint)])
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is tuple:
        return st.lists(_right(get_args(hint)[0], key), max_size=3)
    simple = {bool: st.booleans(), int: NUMBERS, float: REALS, str: TEXTS, NoneType: st.none()}
    return simple.get(hint, ODD)
