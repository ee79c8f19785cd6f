"""Titles, tables and footnotes on the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console()


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
        table.add_row(f"  {label}", escape(text))
    console.print(table, highlight=False)
