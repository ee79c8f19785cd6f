r"""The comparison as a LaTeX table, for the package booktabs."""

from collections.abc import Sequence

from smskd.analysis.compare import Row
from smskd.analysis.tables import columns, explanations
from smskd.analysis.visible import one_line

_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "±": r"$\pm$",
    "−": "$-$",
    "→": r"$\rightarrow$",
    "<": "$<$",
    ">": "$>$",
    "·": r"$\cdot$",
    "–": "--",
}


def latex(rows: Sequence[Row]) -> str:
    r"""The comparison as a ``tabular`` environment with the rules of booktabs; ends with a newline.

    Explanations of the columns stand above it as comments.
    """
    shown = columns(rows)
    layout = "".join("r" if column.numeric else "l" for column in shown)
    lines = [
        *(f"% {one_line(line)}" for line in explanations(rows)),
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _line([column.title for column in shown]),
        r"\midrule",
        *(_line([column.text(row) for column in shown]) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "".join(f"{line}\n" for line in lines)


def latex_text(text: str) -> str:
    """The text within a line of LaTeX, where none of it is a command."""
    return "".join(_CHARACTERS.get(character, character) for character in one_line(text))


def _line(cells: Sequence[str]) -> str:
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"
