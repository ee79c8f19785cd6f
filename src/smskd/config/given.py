"""Python objects in settings: they stand there as ``<package.module.Class>``, and only their own program has them."""

from typing import Any


def given(thing: Any) -> str:
    """The name under which an object stands in the settings of a run."""
    cls = type(thing)
    return f"<{cls.__module__}.{cls.__qualname__}>"


def is_given(name: str) -> bool:
    """Whether a name stands for a Python object."""
    return name.startswith("<") and name.endswith(">")
