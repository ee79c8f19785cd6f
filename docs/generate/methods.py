"""A page for each distillation method and a table of all methods, from the docstrings of their files."""

import inspect
import re
import sys

from generate.formulas import statements
from smskd.interfaces.terms import Method
from smskd.methods._describe import HyperParameter, MethodDescription, describe
from smskd.registry import METHODS

PACKAGE = "smskd.methods"
"""Methods of other installed packages have no page."""

_CODE = re.compile(r"(`+)[^`]+\1")
_LATEX = re.compile(r"\b[A-Za-z]\^\w\b|\\[A-Za-z]+(?:\((?:[^()]|\([^()]*\))*\)|_?\{[^}]*\}|_\w+)*(?: / \d+)?")
_SPECIAL = re.compile(r"([\\*_\[\]>|$])")


def method_names() -> tuple[str, ...]:
    """The methods of the package, sorted."""
    return tuple(name for name in METHODS.names() if METHODS.find(name).__module__.startswith(PACKAGE + "."))


def pages() -> dict[str, str]:
    """The Markdown of every generated page, by its path in the documentation."""
    return {f"methods/{name}.md": page(name) for name in method_names()}


def title(name: str) -> str:
    """The title of a method's page."""
    return describe(name).title


def table() -> str:
    """A table with a row for each method."""
    lines = ["| Method | Title | Compares | Reads | Weight | Paper |", "| --- | --- | --- | --- | ---: | --- |"]
    for name in method_names():
        about = describe(name)
        cells = (
            f"[`{name}`]({name}.md)",
            text(about.title),
            about.kind,
            text(about.reads).rstrip("."),
            f"{about.published_weight:g}",
            arxiv_link(about.arxiv) or text(about.paper),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(name: str) -> str:
    """The page of a method."""
    about, cls = describe(name), METHODS.find(name)
    sections = [
        f"# {text(about.title)}",
        text(about.summary),
        _facts(about),
        "## Formula",
        "\n\n".join(f"$$\n{statement}\n$$" for statement in statements(about.formula)),
        _parameters(about.hyperparameters),
        "## Use",
        _use(about),
        "## Layers, memories and phases",
        _modules(cls),
    ]
    if about.differences:
        points = "\n".join(f"- {text(point)}" for point in about.differences)
        sections += ["## Differences and traps", points]
    sections += ["## API", _api(name, cls)]
    return "\n\n".join(sections) + "\n"


def text(words: str) -> str:
    """The text of a docstring as Markdown: code stays code, LaTeX becomes a formula, anything else is escaped."""
    parts, end = [], 0
    for match in _CODE.finditer(words):
        parts += [_prose(words[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, _prose(words[end:])])


def arxiv_link(number: str) -> str:
    """A link to a preprint; empty where there is none."""
    return f"[arXiv {number}](https://arxiv.org/abs/{number})" if number else ""


def _prose(words: str) -> str:
    parts, end = [], 0
    for match in _LATEX.finditer(words):
        parts += [_escaped(words[end : match.start()]), f"${match[0]}$"]
        end = match.end()
    return "".join([*parts, _escaped(words[end:])])


def _escaped(words: str) -> str:
    return _SPECIAL.sub(r"\\\1", words).replace("<", "&lt;")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _facts(about: MethodDescription) -> str:
    weights = f"{about.published_weight:g} of this loss, {about.published_ce_weight:g} of the cross-entropy beside it"
    rows: tuple[tuple[str, str], ...] = (
        ("Name in a recipe", f"`{about.name}`"),
        ("Paper", ", ".join(part for part in (text(about.paper), arxiv_link(about.arxiv)) if part)),
        ("Compares", {"response": "predictions", "feature": "features", "relation": "relations"}[about.kind]),
        ("Reads", _capital(text(about.reads))),
        ("Shapes", _capital(text(about.shapes))),
        ("Published weights", weights),
        ("Published code", text(about.source)),
    )
    lines = ["| | |", "| --- | --- |", *(f"| {label} | {words} |" for label, words in rows)]
    return "\n".join(lines)


def _parameters(parameters: tuple[HyperParameter, ...]) -> str:
    if not parameters:
        return "## Hyper-parameters\n\nNone."
    lines = ["## Hyper-parameters", "", "| Name | Type | Default | Description |", "| --- | --- | --- | --- |"]
    for item in parameters:
        kind = item.type.replace("|", "\\|")
        lines.append(f"| `{item.name}` | {text(kind) if kind == item.type else kind} | `{item.default}` "
                     f"| {_capital(text(item.text))} |")  # fmt: skip
    return "\n".join(lines)


def _use(about: MethodDescription) -> str:
    """Its use in a recipe and on the command line, with the first hyper-parameter as an example."""
    own = (
        f", {about.hyperparameters[0].name}: {_yaml(about.hyperparameters[0].default)}" if about.hyperparameters else ""
    )
    recipe = f"methods: [{{name: {about.name}, weight: {about.published_weight:g}{own}}}]"
    return f"In a recipe:\n\n```yaml\n{recipe}\n```\n\nWith its defaults, on the command line: `methods={about.name}`."


def _yaml(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value)


def _modules(cls: type[Method]) -> str:
    """The modules that the method builds, the phase before the stage, and properties of its loss."""
    lines = []
    if _own(cls, "build"):
        lines.append(f"- Built for a stage: {_first(cls, 'build')}")
    else:
        lines.append("- Built for a stage: nothing. The loss is a function of the models' outputs.")
    if _own(cls, "pretraining"):
        lines.append(f"- In a phase before the stage: {_first(cls, 'pretraining')}")
    if cls.replaces_head:
        lines.append("- Its layers replace the student's last layers, so that the student becomes another network.")
    if cls.relates_samples:
        lines.append("- The loss of a sample depends on the other samples of the batch.")
    if cls.order_matters:
        lines.append("- The loss depends on the order of the samples in a batch.")
    return "\n".join(lines)


def _own(cls: type[Method], name: str) -> bool:
    return name in vars(cls)


def _first(cls: type[Method], name: str) -> str:
    words = (inspect.getdoc(getattr(cls, name)) or "").partition("\n\n")[0]
    return text(" ".join(words.split()))


def _api(name: str, cls: type[Method]) -> str:
    """The class of the method and its public functions."""
    module = sys.modules[cls.__module__]
    public = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    options = "    options:\n      heading_level: 3"
    return "\n\n".join(f"::: {PACKAGE}.{name}.{key}\n{options}" for key in [cls.__name__, *public])
