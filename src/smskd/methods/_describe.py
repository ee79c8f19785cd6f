"""Descriptions of loss terms, parsed from the docstrings of their files, for the command line and the documentation.

The module docstring has a title and the sections Paper, arXiv, Formula, Reads, Shapes, Source and Differences; the
docstring of the class describes each hyper-parameter under Attributes. A missing section is an empty string.
"""

import inspect
import json
import re
import sys
from dataclasses import MISSING, Field, dataclass, fields
from importlib.resources import files
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from smskd.interfaces.terms import Kind, Method, Term
from smskd.registry import METHODS

_SECTION = re.compile(r"^(Paper|arXiv|Formula|Reads|Shapes|Source|Differences):[ \t]*", re.MULTILINE)
_ATTRIBUTES = re.compile(r"^Attributes:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


@dataclass(frozen=True)
class HyperParameter:
    """A hyper-parameter: a field of a term.

    Attributes:
        name: of the field.
        type: as in source code; the choices of a literal.
        default: None where there is none.
        text: its description.
    """

    name: str
    type: str
    default: Any
    text: str


@dataclass(frozen=True)
class TermDescription:
    """The content of the docstrings of a method or an anchor.

    Attributes:
        name: under which the registry finds it.
        title: its full name.
        summary: one sentence.
        paper: authors, title, venue and year.
        arxiv: number of the preprint.
        formula: LaTeX, one or more statements.
        reads: the features that it reads.
        shapes: of its inputs.
        source: repository and file of the published code.
        differences: between published code and paper, and implementation details that are easy to miss.
        hyperparameters: its fields.
    """

    name: str
    title: str
    summary: str
    paper: str
    arxiv: str
    formula: str
    reads: str
    shapes: str
    source: str
    differences: tuple[str, ...]
    hyperparameters: tuple[HyperParameter, ...]


@dataclass(frozen=True)
class MethodDescription(TermDescription):
    """The description of a method.

    Attributes:
        kind: what it compares.
        published_weight: of its loss.
        published_ce_weight: of the cross-entropy beside it.
        golden_cases: number of results of published code that the tests compare it with.
    """

    kind: Kind
    published_weight: float
    published_ce_weight: float
    golden_cases: int


def describe(name: str) -> MethodDescription:
    """The description of a method.

    Args:
        name: as for ``METHODS.find``.

    Raises:
        UserError: there is no such method.
    """
    return describe_method(METHODS.find(name), name)


def describe_method(cls: type[Method], name: str) -> MethodDescription:
    """The description of the class of a method, parsed from its file.

    Args:
        cls: the method.
        name: under which it is found.
    """
    return MethodDescription(
        **vars(describe_term(cls, name)),
        kind=cls.kind,
        published_weight=cls.published_weight,
        published_ce_weight=cls.published_ce_weight,
        golden_cases=golden_cases().get(name, 0),
    )


def describe_term(cls: type[Term], name: str) -> TermDescription:
    """The description of the class of a method or an anchor, parsed from its file.

    Args:
        cls: the term.
        name: under which it is found.
    """
    title, sections = _sections(inspect.getdoc(sys.modules[cls.__module__]) or "")
    own_doc = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return TermDescription(
        name=name,
        title=title or cls.__name__,
        summary=_one_line(own_doc.partition("\n\n")[0]),
        paper=_one_line(sections.get("Paper", "")),
        arxiv=sections.get("arXiv", ""),
        formula=sections.get("Formula", ""),
        reads=_one_line(sections.get("Reads", "")),
        shapes=_one_line(sections.get("Shapes", "")),
        source=_one_line(sections.get("Source", "")),
        differences=_points(sections.get("Differences", "")),
        hyperparameters=_hyperparameters(cls, own_doc),
    )


def golden_cases() -> dict[str, int]:
    """The number of results of published code that the tests compare each method with, by its name."""
    text = files("smskd.methods").joinpath("golden.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _sections(doc: str) -> tuple[str, dict[str, str]]:
    first, *rest = _SECTION.split(doc)
    title = first.partition("\n")[0].strip().rstrip(".")
    return title, {name: inspect.cleandoc(text) for name, text in zip(rest[::2], rest[1::2], strict=True)}


def _points(text: str) -> tuple[str, ...]:
    return tuple(_one_line(point) for point in re.split(r"^- ", text, flags=re.MULTILINE) if point.strip())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _hyperparameters(cls: type[Any], doc: str) -> tuple[HyperParameter, ...]:
    section = _ATTRIBUTES.search(doc)
    texts = dict(_ATTRIBUTE.findall(section[1])) if section else {}
    hints = get_type_hints(cls)
    return tuple(
        HyperParameter(field.name, _type_text(hints[field.name]), _default(field), _one_line(texts.get(field.name, "")))
        for field in fields(cls)
    )


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _type_text(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(_type_text, get_args(hint)))
    if hint is type(None):
        return "None"
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
