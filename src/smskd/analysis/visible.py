"""Names that other people have chosen, made harmless for a terminal, a browser, a spreadsheet or Markdown."""

import re

from smskd.errors import printable

_MARKDOWN = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
"""Characters with a meaning in Markdown; an underscore has none between letters."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The characters that begin a formula in a spreadsheet."""


def visible(text: str) -> str:
    """The text with escapes for the characters that cannot be seen: ``\\x1b``, ``\\u202e``. Lines and tabs are kept."""
    return printable(text, keep="\n\t")


def one_line(text: str) -> str:
    """The visible text in one line."""
    return visible(re.sub(r"\s*[\r\n\t]+\s*", " ", text))


def shortened(text: str, length: int) -> str:
    """The text in at most ``length`` characters; a longer one loses its middle."""
    if len(text) <= length:
        return text
    kept = length - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def markdown_text(text: str) -> str:
    """The text within a line of Markdown, where none of it is markup or HTML."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", plain)


def spreadsheet_text(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    plain = one_line(text)
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
