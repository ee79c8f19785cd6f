"""From the settings of the data to a data set."""

from typing import Any

from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, SubsetConfig, ValidationConfig
from smskd.data.dataset import Dataset
from smskd.data.sources.catalog import Track
from smskd.data.sources.read import read_source
from smskd.data.text_dataset import TextDataset
from smskd.data.validation import with_validation
from smskd.errors import UserError


def load(
    source: str | DataConfig,
    *,
    subset: SubsetConfig | None = None,
    validation: ValidationConfig | None = None,
    track: Track | None = None,
    **options: Any,
) -> Dataset | TextDataset:
    """A data set, as a recipe loads it.

    Example:
        ``load("cifar100", root="data", download=True, validation=ValidationConfig(fraction=0.1))``

    Args:
        source: a built-in data source (see :func:`names`), the name of an installed one (entry points of the group
            ``smskd.data``) or ``package.module:factory``; or all settings in one object.
        subset: the part that is used; default: everything.
        validation: the validation split, taken out of the training images after the subset; default: none, or the
            one that the source itself has.
        track: shows progress; it is called as ``track(iterable, total)`` and yields the elements of the iterable.
        **options: of the source, such as ``root`` and ``download``.

    Raises:
        UserError: no such source or option, or a fault in its data.
    """
    if isinstance(source, DataConfig):
        if subset is not None or validation is not None or options:
            raise UserError("a DataConfig holds subset, validation and the options of the source; give it alone")
        return _load(source, track)
    component = ComponentConfig(source, options)
    return _load(DataConfig(component, subset or SubsetConfig(), validation), track)


def _load(config: DataConfig, track: Track | None) -> Dataset | TextDataset:
    crops = config.augmentation.random_resized_crop is not None
    dataset = read_source(config.source, config.subset, track, loader=config.loader, crops=crops)
    if config.validation is None:
        return dataset
    return with_validation(dataset, config.validation, config.source, track, config.loader)
