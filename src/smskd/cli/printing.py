"""Titles, tables and footnotes on the terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

from smskd.errors import printable


class SafeConsole(Console):
    """A console on which texts cannot act: control characters in them, of a run's name for instance, are escaped."""

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        """The segments of a renderable; rich's own control codes are kept."""
        for segment in super().render(*arguments, **options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, keep="\n"), segment.style)


console = SafeConsole()


def print_title(text: str) -> None:
    """A line in bold."""
    console.print(text, style="bold", markup=False, highlight=False)


def print_footnote(text: str) -> None:
    """A dim line, which is not wrapped."""
    console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def print_pairs(*pairs: tuple[str, str]) -> None:
    """Labels and texts in two columns; a text wraps within its column."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for label, text in pairs:
        table.add_row(f"  {escape(label)}", escape(text))
    console.print(table, highlight=False)
