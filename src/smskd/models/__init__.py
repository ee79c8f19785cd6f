"""Models: the zoo for CIFAR, networks of the user's with features by name, weights on disk, costs, frozen networks.

- ``zoo/``: the networks of the published experiments. :mod:`~smskd.models.creation` makes one by name.
- ``libraries/``: networks of timm, torchvision and transformers, with the features that each library knows.
- ``hooks``: any other network as a feature model; ``feature_discovery`` and ``named_features`` find its features, from
  ``tracing`` (the calls of its modules), ``map_outputs``, ``classifier_head``, ``last_layer`` and ``module_outputs``;
  ``as_trained``: values that differ in a trained network differ while it is traced.
- ``weights`` and ``checkpoints``: safetensors and published checkpoints. ``metadata``: the facts beside weights, and
  ``as_learned``: a network among images and classes other than those it learned from.
- ``inspect``, ``latency``, ``dry_run``: shapes, costs and latency, from passes that leave a model as it was.
- ``image_errors``: the line about inputs that a network does not accept.
- ``frozen``: teachers and references, with ``bn_folding``, ``compiled``, ``copying``, ``frozen_checks`` and ``probe``.
- ``memory_format``: the format that a network can safely be trained in.

The exports are imported on first use, so that the names of the zoo can be listed without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smskd.models.creation import create
    from smskd.models.hooks import adapt
    from smskd.models.inspect import describe, macs, parameters
    from smskd.models.metadata import Facts, facts, set_facts
    from smskd.models.weights import check_classes, load_weights, read_metadata, save_weights
    from smskd.models.zoo.names import names

__all__ = [
    "Facts",
    "adapt",
    "check_classes",
    "create",
    "describe",
    "facts",
    "load_weights",
    "macs",
    "names",
    "parameters",
    "read_metadata",
    "save_weights",
    "set_facts",
]

# No file may have the name of an export: importing the file would replace the function by the module.
_FILES = {
    "Facts": "metadata",
    "adapt": "hooks",
    "check_classes": "weights",
    "create": "creation",
    "describe": "inspect",
    "facts": "metadata",
    "load_weights": "weights",
    "macs": "inspect",
    "names": "zoo.names",
    "parameters": "inspect",
    "read_metadata": "weights",
    "save_weights": "weights",
    "set_facts": "metadata",
}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
