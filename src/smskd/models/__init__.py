"""The models: the CIFAR zoo, any network of your own made readable by name, their weights and what they cost.

What is exported here is imported when it is first asked for, so that the names of the zoo can be listed
without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smskd.models.hooks import adapt
    from smskd.models.inspect import describe, macs, parameters
    from smskd.models.weights import check_classes, load_weights, read_metadata, save_weights
    from smskd.models.zoo.catalog import create
    from smskd.models.zoo.names import names

__all__ = [
    "adapt",
    "check_classes",
    "create",
    "describe",
    "load_weights",
    "macs",
    "names",
    "parameters",
    "read_metadata",
    "save_weights",
]

# No file may bear the name of what it exports: importing it would put the module in the function's place.
_FILES = {
    "adapt": "hooks",
    "check_classes": "weights",
    "create": "zoo.catalog",
    "describe": "inspect",
    "load_weights": "weights",
    "macs": "inspect",
    "names": "zoo.names",
    "parameters": "inspect",
    "read_metadata": "weights",
    "save_weights": "weights",
}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
