"""The settings of the data that `smskd data` is to describe. Nothing here imports torch."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from smskd.config.data import DataConfig
from smskd.data.recognition import recognised
from smskd.recipe import overridden, parse, read
from smskd.recipe.names import check_names


def data_settings(wanted: str, overrides: Sequence[str]) -> DataConfig:
    """The settings of the data of a recipe, or of a folder with the data source that reads it.

    Args:
        wanted: a recipe or a folder.
        overrides: changes, ``key.path=value``, of a folder such as ``data.source.image_size=[64,64]``.

    Raises:
        UserError: a mistake in the recipe or in a change, or no source recognises the folder.
    """
    if not _is_folder(wanted):
        return read(wanted, overrides).data
    # A recipe has a student too; no data depend on it.
    raw = {"name": "data", "data": {"source": recognised(Path(wanted))}, "student": "resnet8", "methods": []}
    recipe = parse(overridden(raw, overrides), source=wanted)
    check_names(recipe)
    return recipe.data


def _is_folder(wanted: str) -> bool:
    with suppress(OSError, ValueError):  # a name that no file can have
        return bool(wanted) and Path(wanted).is_dir()
    return False
