"""What a method's own file says of it, for the command line and the documentation.

The docstring of the file has a title and the sections Paper, arXiv, Formula, Taps, Shapes, Source and
Differences; the docstring of the class has a line for each hyper-parameter under Attributes. A section that
is missing is empty.
"""

import inspect
import json
import re
import sys
from dataclasses import MISSING, Field, dataclass, fields
from importlib.resources import files
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from smskd.interfaces.terms import Kind, Method
from smskd.registry import METHODS

_SECTION = re.compile(r"^(Paper|arXiv|Formula|Taps|Shapes|Source|Differences):[ \t]*", re.MULTILINE)
_ATTRIBUTES = re.compile(r"^Attributes:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


@dataclass(frozen=True)
class HyperParameter:
    """A field of a method.

    Attributes:
        name: of the field.
        type: as one writes it; the choices, if it has some.
        default: None where there is none.
        text: what it does.
    """

    name: str
    type: str
    default: Any
    text: str


@dataclass(frozen=True)
class MethodDescription:
    """All that a method's file says.

    Attributes:
        name: under which the method is found.
        title: its full name.
        summary: what it does, in one sentence.
        paper: authors, title, venue and year.
        arxiv: number of the preprint.
        kind: what it compares.
        formula: LaTeX, one statement.
        taps: the features that it reads.
        shapes: of its inputs.
        source: repository and file of the published code.
        differences: where the published code differs from the paper, and what is easy to miss.
        hyperparameters: its fields.
        published_weight: of its loss.
        published_ce_weight: of the cross-entropy beside it.
        golden_cases: results of published code that the method is compared with in the tests, and equals.
    """

    name: str
    title: str
    summary: str
    paper: str
    arxiv: str
    kind: Kind
    formula: str
    taps: str
    shapes: str
    source: str
    differences: tuple[str, ...]
    hyperparameters: tuple[HyperParameter, ...]
    published_weight: float
    published_ce_weight: float
    golden_cases: int


def describe(name: str) -> MethodDescription:
    """Reads the description of a method from its file.

    Args:
        name: as for :func:`smskd.METHODS.find`.

    Raises:
        UserError: no such method.
    """
    return describe_class(METHODS.find(name), name)


def describe_class(cls: type[Method], name: str) -> MethodDescription:
    """Reads the description of a method from the file of its class.

    Args:
        cls: the method.
        name: under which it is found.
    """
    title, sections = _sections(inspect.getdoc(sys.modules[cls.__module__]) or "")
    own_doc = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return MethodDescription(
        name=name,
        title=title or cls.__name__,
        summary=_one_line(own_doc.partition("\n\n")[0]),
        paper=_one_line(sections.get("Paper", "")),
        arxiv=sections.get("arXiv", ""),
        kind=cls.kind,
        formula=sections.get("Formula", ""),
        taps=_one_line(sections.get("Taps", "")),
        shapes=_one_line(sections.get("Shapes", "")),
        source=_one_line(sections.get("Source", "")),
        differences=_points(sections.get("Differences", "")),
        hyperparameters=_hyperparameters(cls, own_doc),
        published_weight=cls.published_weight,
        published_ce_weight=cls.published_ce_weight,
        golden_cases=golden_cases().get(name, 0),
    )


def golden_cases() -> dict[str, int]:
    """The number of results of published code by the method that is compared with them."""
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
