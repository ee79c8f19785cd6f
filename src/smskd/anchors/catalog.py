"""The anchors by name."""

from importlib import import_module

from smskd.errors import UserError, nearest
from smskd.interfaces.terms import Anchor

_CLASSES = {"true_class": "smskd.anchors.reference_kl:TrueClass"}


def names() -> tuple[str, ...]:
    """The anchors there are."""
    return tuple(_CLASSES)


def find(name: str) -> type[Anchor]:
    """The anchor's class.

    Raises:
        UserError: there is none of this name.
    """
    if name not in _CLASSES:
        raise UserError(f"'{name}' is not an anchor{nearest(name, _CLASSES)}")
    module, _, cls = _CLASSES[name].partition(":")
    found: type[Anchor] = getattr(import_module(module), cls)
    return found


def name_of(anchor: Anchor) -> str:
    """The name under which a recipe finds an anchor."""
    return next(name for name, path in _CLASSES.items() if path.partition(":")[2] == type(anchor).__name__)
