"""The description of a method or an anchor on the terminal."""

from collections.abc import Mapping
from textwrap import indent
from typing import Any

from smskd.cli.printing import console, print_pairs, print_title


def print_term(term: Mapping[str, Any], *facts: tuple[str, str]) -> None:
    """Prints title, paper, formula, hyper-parameters and notes.

    Args:
        term: its entry of the catalog.
        facts: further labels and texts below the paper.
    """
    print_title(f"{term['name']}: {term['title']}")
    print_pairs(("paper", term["paper"] + (f" (arXiv {term['arxiv']})" if term["arxiv"] else "")), *facts)
    if term["formula"]:
        print_title("\nformula")
        console.print(indent(term["formula"], "  "), markup=False, highlight=False, soft_wrap=True)
    if term["hyperparameters"]:
        print_title("\nhyper-parameters")
        print_pairs(
            *(
                (item["name"], f"{item['text'].rstrip('.')} ({item['type']}, default {item['default']})")
                for item in term["hyperparameters"]
            )
        )
    if term["differences"]:
        print_title("\nnotes")
        print_pairs(*(("-", difference) for difference in term["differences"]))
