"""Describes methods, anchors, strategies and models from their classes, and writes the catalog of the built-in ones."""

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smskd.cli.catalog import FILE, REGISTRIES, Section
from smskd.cli.method_facts import method_facts
from smskd.cli.model_facts import model_facts
from smskd.methods._describe import describe, describe_term
from smskd.registry import ANCHORS, STRATEGIES

_IMAGE_SIZE = (32, 32)

_OF_ONE_MODEL = ("places", "roles")
"""Shown of a single model, for which it is made anyway."""


def describe_live(section: Section, name: str) -> dict[str, Any]:
    """The description of one thing, from its class, as JSON has it.

    Raises:
        UserError: there is no such thing, or it cannot be imported.
    """
    found: dict[str, Any] = json.loads(json.dumps(_DESCRIBE[section](name), default=str))
    return found


def build_catalog() -> dict[str, dict[str, Any]]:
    """The descriptions of all built-in things, by section and name."""
    return {
        section: {name: describe_live(section, name) for name in sorted(registry.builtin_names())}
        for section, registry in REGISTRIES.items()
    }


def write_catalog() -> None:
    """Writes the file of the catalog anew."""
    text = json.dumps(build_catalog(), indent=1, ensure_ascii=False)
    Path(__file__).with_name(FILE).write_text(text + "\n", encoding="utf-8")


def _method(name: str) -> dict[str, Any]:
    return asdict(describe(name)) | asdict(method_facts(name))


def _anchor(name: str) -> dict[str, Any]:
    return asdict(describe_term(ANCHORS.find(name), name))


def _strategy(name: str) -> dict[str, Any]:
    doc = inspect.getdoc(STRATEGIES.find(name)) or ""
    return {"name": name, "summary": " ".join(doc.partition("\n\n")[0].split())}


def _model(name: str) -> dict[str, Any]:
    facts = model_facts(name, _IMAGE_SIZE)
    return {key: value for key, value in facts.items() if key not in _OF_ONE_MODEL}


_DESCRIBE: dict[Section, Callable[[str], dict[str, Any]]] = {
    "methods": _method,
    "anchors": _anchor,
    "strategies": _strategy,
    "models": _model,
}

if __name__ == "__main__":
    write_catalog()
