"""Conversion of formulas from LaTeX to MathML at build time, so that a page needs neither scripts nor a network."""

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
    """A LaTeX command that the conversion does not support."""


def statements(formula: str) -> list[str]:
    """The statements of a formula: each begins at a line that is not indented.

    Args:
        formula: as in the module docstring of a method.

    Returns:
        LaTeX, each on one line.
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
        block: whether it is displayed on a line of its own, not within a text.

    Raises:
        UnknownCommand: the formula has an unsupported command, which would be shown as source code.
    """
    element = str(convert(latex, display="block" if block else "inline"))
    left = _COMMAND.search(element)
    if left:
        raise UnknownCommand(f"{left[0]} in {latex}")
    # A name in upright letters is a single identifier, which browsers set with the spacing of a word.
    element = _NAME.sub(lambda match: f"<mi>{''.join(_LETTER.findall(match[1]))}</mi>", element)
    element = _FUNCTION.sub(r'\g<0><mspace width="0.17em" />', element)
    # Bars are delimiters of an absolute value, without the spacing of a relation.
    return _BAR.sub('<mo stretchy="false" lspace="0" rspace="0">|</mo>', element)


def drawn(page: str) -> str:
    """The HTML of a page with the formulas of the Markdown extension replaced by MathML."""
    return _ARITHMATEX.sub(_element, page)


def _element(match: re.Match[str]) -> str:
    latex = html.unescape(match["latex"])
    if match["open"] == "(":
        return mathml(latex, block=False)
    return f'<div class="formula">{mathml(latex, block=True)}</div>'
