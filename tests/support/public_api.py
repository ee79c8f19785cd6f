"""The public names of the package, with their parameters.

``python -m tests.support.public_api`` adds what is new to the list. What is gone has to be taken out by hand: it breaks
programs of users.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import smskd

LIST = Path(__file__).parents[1] / "compat" / "public_api.txt"

MODULES = ("smskd", "smskd.data", "smskd.diagnostics", "smskd.models", "smskd.testing")
PACKAGES_OF_TERMS = ("smskd.methods", "smskd.anchors")


def public_names() -> list[str]:
    """With their modules, sorted."""
    names = [f"{module}.{name}" for module in MODULES for name in importlib.import_module(module).__all__]
    return sorted({*names, *(name for package in PACKAGES_OF_TERMS for name in _classes(package))})


def described(name: str) -> str:
    """The line of a name in the list: ``smskd.load(path, *, model=, trust=)``, where ``=`` is for a default.

    Raises:
        AttributeError: there is no such name.
    """
    return f"{name}({', '.join(parameters(name))})"


def parameters(name: str) -> list[str]:
    """The parameters of a name, as in its line; empty where it is no function or class.

    Raises:
        AttributeError: there is no such name.
    """
    module, _, own = name.rpartition(".")
    value: Any = getattr(importlib.import_module(module), own)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return []
    found: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in found:
            found.append("*")
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else "="
        found.append(f"{stars}{parameter.name}{default}")
    return found


def listed() -> dict[str, list[str]]:
    """The names in the list, with their parameters."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    pairs = [line.removesuffix(")").split("(", 1) for line in lines]
    return {name: [each for each in inside.split(", ") if each] for name, inside in pairs}


def _classes(package: str) -> Iterator[str]:
    """The classes that the modules of a package define: methods and anchors, whose fields are their settings."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not module.name.startswith("_"):
            found = importlib.import_module(f"{package}.{module.name}")
            for name, value in vars(found).items():
                if inspect.isclass(value) and value.__module__ == found.__name__ and issubclass(value, smskd.Term):
                    yield f"{package}.{module.name}.{name}"


def main() -> None:
    """Adds new names, and the new parameters of known ones."""
    kept = listed() if LIST.exists() else {}
    lines = {name: f"{name}({', '.join(inside)})" for name, inside in kept.items()}
    for name in public_names():
        if not shrunk(kept.get(name, []), parameters(name)) or name not in kept:
            lines[name] = described(name)
    LIST.write_text("\n".join(lines[name] for name in sorted(lines)) + "\n", encoding="utf-8")


def shrunk(then: list[str], now: list[str]) -> list[str]:
    """Why a call that was right may no longer be so; empty where every such call still is."""
    names = {each.rstrip("=") for each in now}
    gone = [each for each in then if each.rstrip("=") not in names]
    required = [each for each in now if not each.endswith("=") and not each.startswith("*") and each not in then]
    before, after = _positional(then), _positional(now)
    moved = [] if after[: len(before)] == before else ["the order of positional parameters"]
    return [*gone, *required, *moved]


def _positional(inside: list[str]) -> list[str]:
    names = [each.rstrip("=") for each in inside]
    return names[: names.index("*")] if "*" in names else names


if __name__ == "__main__":
    main()
