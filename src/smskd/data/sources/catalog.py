"""The built-in data sources by name. Importing this module imports no torch: a source's module is, when it is found.

A data source is a callable whose keyword parameters are the options of ``data.source``. It returns a
:class:`~smskd.data.Dataset`, or map-style data sets (see :func:`smskd.data.loading.load`). Where it has a parameter
``subset`` or ``track``, it is given the :class:`~smskd.config.data.SubsetConfig`, so that it decodes only the images
that are used, and a function that shows progress.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

Track = Callable[[Iterable[int], int], Iterable[int]]
"""Shows progress: yields the elements of an iterable, given with their number."""

_MODULES = {
    "digits": "digits",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "parquet": "parquet",
    "image_folder": "image_folder",
    "tiny_imagenet": "tiny_imagenet",
    "imagenet": "imagenet",
    "hf": "hf",
    "webdataset": "webdataset",
    "text": "text",
}


def names() -> tuple[str, ...]:
    """Names of the built-in data sources."""
    return tuple(_MODULES)


def source(name: str) -> Callable[..., Any]:
    """The built-in data source of this name.

    Raises:
        KeyError: there is none.
    """
    factory: Callable[..., Any] = getattr(import_module(f"smskd.data.sources.{_MODULES[name]}"), name)
    return factory
