"""Descriptions of methods, anchors, strategies and models, without importing them, and so without torch.

``catalog.json`` has those of the built-in ones. It is generated from their classes, by ``make catalog``, and a test
compares both. Other ones, of installed packages and of the user, are imported and described.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from smskd.registry import ANCHORS, METHODS, MODELS, STRATEGIES, Registry

Section = Literal["methods", "anchors", "strategies", "models"]

REGISTRIES: dict[Section, Registry] = {
    "methods": METHODS,
    "anchors": ANCHORS,
    "strategies": STRATEGIES,
    "models": MODELS,
}

FILE = "catalog.json"

STUDENT = "resnet8"
TEACHERS = ("resnet8x4", "resnet20")
"""The networks for which the catalog has what a method reads and trains: a wider teacher, and one of the same widths
for methods that need equal shapes."""


def entry(section: Section, name: str) -> dict[str, Any]:
    """The description of one thing: texts, numbers, lists and mappings.

    Raises:
        UserError: there is no such thing, or it cannot be imported.
    """
    stored = _stored()[section].get(name)
    if stored is not None:
        return stored
    REGISTRIES[section].check_name(name)
    from smskd.cli.catalog_source import describe_live

    return describe_live(section, name)


@cache
def _stored() -> dict[str, dict[str, dict[str, Any]]]:
    text = files("smskd.cli").joinpath(FILE).read_text(encoding="utf-8")
    return dict(json.loads(text))
