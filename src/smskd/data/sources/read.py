"""Reads the data set of a source and its options."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from smskd.config.base import ComponentConfig
from smskd.config.data import LoaderConfig, SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.sources.catalog import Track
from smskd.data.sources.map_style import as_dataset
from smskd.data.sources.options import checked_options, resizes, takes_streaming, takes_subset, takes_track
from smskd.data.text_dataset import TextDataset
from smskd.errors import UserError
from smskd.registry import DATA

D = TypeVar("D", bound=Dataset | TextDataset)


def read_source(
    source: ComponentConfig,
    subset: SubsetConfig,
    track: Track | None = None,
    where: str = "data.source",
    loader: LoaderConfig | None = None,
    *,
    crops: bool = False,
) -> Dataset | TextDataset:
    """The data set of a source.

    Args:
        source: its name and options.
        subset: the part that is used. A source with a parameter ``subset`` reads no more than that.
        track: shows progress, of sources with a parameter ``track``.
        where: key of the source in a recipe, for messages.
        loader: whose kind, ``memory`` or ``streaming``, is the option ``streaming`` of a source that may do either
            and is not given it.
        crops: whether training images are random resized crops. A source that would resize pictures then streams them,
            so that whole pictures are cropped.

    Raises:
        UserError: no such source or option, or a fault in its data; pictures are to be held in memory, and whole ones
            to be cropped.
    """
    try:
        factory = DATA.find(source.name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    arguments: dict[str, Any] = checked_options(factory, source.name, source.options, where)
    own_subset = takes_subset(factory)
    if own_subset:
        arguments["subset"] = subset
    given = arguments.get("streaming") is not None
    if loader is not None and loader.kind != "auto" and takes_streaming(factory) and not given:
        arguments["streaming"] = loader.kind == "streaming"
    if crops and resizes(factory, arguments):
        if arguments.get("streaming") is False:
            kind = f"{where}.streaming: false" if given else "data.loader.kind: memory"
            raise UserError(f"{kind}: random_resized_crop is one of whole pictures, which are not held; leave it out")
        arguments["streaming"] = True
    if takes_track(factory):
        arguments["track"] = track
    dataset = as_dataset(_called(factory, arguments, source.name, where), source.name, track)
    return dataset if own_subset else _subset(dataset, subset)


def _called(factory: Callable[..., Any], arguments: dict[str, Any], name: str, where: str) -> Any:
    """The result of a source; arguments that do not fit a callable without a signature are told in one line."""
    try:
        return factory(**arguments)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # from within the source
        raise UserError(f"{where}: {name} cannot be called with these options: {error}") from None


def _subset(dataset: D, subset: SubsetConfig) -> D:
    return replace(
        dataset,
        train=_part(dataset.train, subset.train, subset.seed),
        test=_part(dataset.test, subset.test, subset.seed),
    )


def _part(split: Any, limit: int | None, seed: int) -> Any:
    return split if limit is None else split.subset(limit, seed)
