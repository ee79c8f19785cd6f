"""The data of a run: their source, the part that is used, the validation split and loading."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, InstanceOf

from smskd.config.augmentation import AugmentationConfig
from smskd.config.base import ComponentConfig, Config, SettingError
from smskd.config.numbers import Count, Real, Seed, Whole

Source = Annotated[InstanceOf[ComponentConfig], BeforeValidator(ComponentConfig.of)]

MOST_WORKERS = 1024


@dataclass(frozen=True)
class SubsetConfig(Config):
    """A part of the data, drawn at random once and always the same for the same seed.

    Attributes:
        train: number of training images; None: all.
        test: number of test images; None: all.
        seed: of the draw.
    """

    train: Count | None = None
    test: Count | None = None
    seed: Seed = 0


@dataclass(frozen=True)
class ValidationConfig(Config):
    """Images that are held out of training and on which ``best`` is selected.

    One of ``fraction``, ``count`` and ``source`` is given.

    Attributes:
        fraction: share of the training images, between 0 and 1, of each class alike.
        count: number of training images, of each class its share.
        seed: of the draw.
        source: another data source, whose test images are the validation images.
    """

    fraction: Annotated[Real, Field(gt=0, lt=1)] | None = None
    count: Count | None = None
    seed: Seed = 0
    source: Source | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(value is not None for value in (self.fraction, self.count, self.source)) != 1:
            raise SettingError("give one of fraction, count and source")


@dataclass(frozen=True)
class LoaderConfig(Config):
    """How batches are made.

    Attributes:
        kind: ``memory``: all images lie on the device as bytes and are augmented there; ``streaming``: samples are read
            and decoded one by one; ``auto``: ``memory`` up to 512 MiB of pixels, ``streaming`` beyond, or as the source
            has it.
        workers: processes that read samples, of ``streaming``; 0: this process.
    """

    kind: Literal["auto", "memory", "streaming"] = "auto"
    workers: Annotated[Whole, Field(ge=0, le=MOST_WORKERS)] = 0


@dataclass(frozen=True)
class DataConfig(Config):
    """The data of a run.

    Attributes:
        source: ``digits``, ``cifar10``, ``cifar100``, ``parquet``, ``image_folder``, ``tiny_imagenet``, ``imagenet``,
            ``hf``, ``webdataset``, an installed source or ``package.module:factory``, by name alone or with its
            options: ``{name: cifar100, root: data, download: true}``.
        subset: the part that is used; by default everything.
        validation: the validation split; None: there is none, and ``best`` cannot be chosen.
        augmentation: see :class:`smskd.config.augmentation.AugmentationConfig`.
        loader: how batches are made.
    """

    source: Source
    subset: SubsetConfig = field(default_factory=SubsetConfig)
    validation: ValidationConfig | None = None
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
