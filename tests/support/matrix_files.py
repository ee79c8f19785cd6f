"""The files of the matrix: ``tests/matrix/taps.yaml``, ``tests/matrix/results.yaml`` and the page of the docs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.model_matrix import METHOD_NAMES, ROLES, WORKS, WRONG

ROOT = Path(__file__).parents[2]
TAPS = ROOT / "tests" / "matrix" / "taps.yaml"
RESULTS = ROOT / "tests" / "matrix" / "results.yaml"
PAGE = ROOT / "docs" / "guide" / "models-matrix.md"

Results = Mapping[str, Mapping[str, Mapping[str, str]]]
"""By architecture, role and method: ``works``, or the line with which the method is refused."""

_INTRODUCTION = """# Architectures and methods

Each architecture is the teacher of a ResNet-8 of the zoo, and the student of a ResNet-8x4, in a training step of every
method, on random images of 64 x 64 pixels (Inception: 96 x 96). Weights are fresh, with statistics of batch norms as of
a trained network; last layers that a library fills with zeros are random. A step works if its losses are finite, depend
on the images and give the student a gradient. Otherwise the method is refused, before training, with the line below the
table. The table is written by `make matrix`; the features that are read are in `tests/matrix/taps.yaml`.
"""


def read_taps() -> dict[str, Any]:
    """The taps by architecture."""
    return dict(yaml.safe_load(TAPS.read_text(encoding="utf-8")))


def read_results() -> Results:
    """The results that the page shows."""
    found: Results = yaml.safe_load(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found


def write_taps(taps: Mapping[str, Any]) -> None:
    """Writes the taps."""
    TAPS.write_text(yaml.safe_dump(dict(taps), sort_keys=False, width=120), encoding="utf-8")


def write_results(results: Results) -> None:
    """Writes the results, and the page."""
    plain = {name: {role: dict(found) for role, found in roles.items()} for name, roles in results.items()}
    RESULTS.write_text(yaml.safe_dump(plain, sort_keys=False, width=200), encoding="utf-8")
    PAGE.write_text(page(plain), encoding="utf-8")


def failures(results: Results) -> list[str]:
    """A line for each step that neither works nor is refused."""
    return [
        f"{name} as {role}: {method}: {line}"
        for name, roles in results.items()
        for role, found in roles.items()
        for method, line in found.items()
        if line.startswith(WRONG)
    ]


def page(results: Results) -> str:
    """The page of the docs: a table for each role, and the lines of the refusals."""
    return "\n".join([_INTRODUCTION, *(_table(results, role) for role in ROLES)])


def _table(results: Results, role: str) -> str:
    reasons: dict[str, int] = {}

    def cell(line: str) -> str:
        return "•" if line == WORKS else str(reasons.setdefault(line, len(reasons) + 1))

    rows = [
        f"| {name} | " + " | ".join(cell(found[role][own]) for own in METHOD_NAMES) + " |"
        for name, found in results.items()
        if role in found
    ]
    head = [f"## As {role}\n", "| | " + " | ".join(METHOD_NAMES) + " |", "|---|" + "---|" * len(METHOD_NAMES)]
    return "\n".join([*head, *rows, "", "•: works.\n", *(f"{number}. {line}" for line, number in reasons.items()), ""])
