"""Formulas: LaTeX to MathML while the site is built, so that a page needs no script and no network to show them."""

import html
import re

from latex2mathml.converter import convert

_ARITHMATEX = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
_NAME = re.compile(r"<mrow>((?:<mi mathvariant=\"normal\">\w</mi>){2,})</mrow>")
_LETTER = re.compile(r"<mi mathvariant=\"normal\">(\w)</mi>")
_BAR = re.compile(r"<mo stretchy=\"false\">(?:\||&#x0007C;)</mo>")
_FUNCTION = re.compile(r"(?<!<msub>)(?<!<msup>)(?<!<msubsup>)<mi>(?:log|exp)</mi>(?!<mo stretchy=\"false\">&#x00028;)")
_COMMAND = re.compile(r"\\\w+")


class UnknownCommand(ValueError):
    """A LaTeX command that the conversion does not know."""


def statements(formula: str) -> list[str]:
    """The statements of a method's formula: one begins at each line that is not indented.

    Args:
        formula: as in the docstring of a method's file.

    Returns:
        LaTeX, each in one line.
    """
    found: list[str] = []
    for line in formula.splitlines():
        if line.startswith(" ") and found:
            found[-1] += " " + line.strip()
        elif line.strip():
            found.append(line.strip())
    return found


def mathml(latex: str, *, block: bool) -> str:
    """A formula as a MathML element.

    Args:
        latex: one statement.
        block: on a line of its own, or within a text.

    Raises:
        UnknownCommand: the formula has a command that would be shown as it is written.
    """
    element = str(convert(latex, display="block" if block else "inline"))
    left = _COMMAND.search(element)
    if left:
        raise UnknownCommand(f"{left[0]} in {latex}")
    # A name in upright letters is one identifier, which browsers set with the spacing of a word.
    element = _NAME.sub(lambda match: f"<mi>{''.join(_LETTER.findall(match[1]))}</mi>", element)
    element = _FUNCTION.sub(r'\g<0><mspace width="0.17em" />', element)
    # A bar stands at both ends of an absolute value, where a relation's spaces would be wrong.
    return _BAR.sub('<mo stretchy="false" lspace="0" rspace="0">|</mo>', element)


def drawn(page: str) -> str:
    """A page in which the formulas that the Markdown extension found are MathML."""
    return _ARITHMATEX.sub(_element, page)


def _element(match: re.Match[str]) -> str:
    latex = html.unescape(match["latex"])
    if match["open"] == "(":
        return mathml(latex, block=False)
    return f'<div class="formula">{mathml(latex, block=True)}</div>'
