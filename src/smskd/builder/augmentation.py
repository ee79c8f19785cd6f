"""The augmentation of a run, checked against its images."""

from dataclasses import replace

import torch

from smskd.config.augmentation import AugmentationConfig
from smskd.config.data import DataConfig
from smskd.data import Augmentation, Dataset, Images, TextDataset
from smskd.data.samples import read_image
from smskd.errors import UserError


def augmentation_of(
    config: DataConfig, dataset: Dataset | TextDataset, own: Augmentation | None, memory_format: torch.memory_format
) -> Augmentation | None:
    """The random changes of training images, and their normalisation; None for texts.

    Args:
        config: of the data.
        dataset: whose usual crop and flip are the defaults.
        own: instead of that of the settings.
        memory_format: of batches.

    Raises:
        UserError: these images cannot be changed so, or texts are to be augmented.
    """
    if isinstance(dataset, TextDataset):
        if own is not None or config.augmentation != AugmentationConfig():
            raise UserError("data.augmentation: these are texts, which are not augmented; leave it out")
        return None
    if own is not None:
        _check(own.further or AugmentationConfig(), dataset)
        return replace(own, memory_format=memory_format)
    settings = config.augmentation
    _check(settings, dataset)
    usual = dataset.augmentation(memory_format)
    crops = settings.random_resized_crop is not None
    padding = (0 if crops else usual.padding) if settings.padding is None else settings.padding
    flip = usual.flip if settings.flip is None else settings.flip
    return replace(usual, padding=padding, flip=flip, further=settings)


def _check(settings: AugmentationConfig, dataset: Dataset) -> None:
    """Refuses changes that these images do not allow."""
    height, width = dataset.shape[-2:]
    if settings.padding is not None and settings.padding > min(height, width):
        limit = f"must be at most {min(height, width)}, the shorter side of the images, not {settings.padding}"
        raise UserError(f"data.augmentation.padding: {limit}")
    if _gives_floats(dataset):
        _check_floats(settings)
    else:
        _check_channels(settings, dataset.shape[0])
    if settings.mixes and dataset.classes < 2:
        raise UserError("data.augmentation: mixup and cutmix mix classes, and the data set has a single one")


def _gives_floats(dataset: Dataset) -> bool:
    return not isinstance(dataset.train, Images) and read_image(dataset.train, 0).dtype != torch.uint8


def _check_floats(settings: AugmentationConfig) -> None:
    of_bytes = {
        "padding": settings.padding,
        "flip": settings.flip,
        "random_resized_crop": settings.random_resized_crop,
        "rotation": settings.rotation,
        "policy": settings.policy,
        "color_jitter": settings.color_jitter,
        "consistent: false": not settings.consistent,
    }
    wanted = [key for key, value in of_bytes.items() if value]
    if wanted:
        raise UserError(
            f"data.augmentation: {', '.join(wanted)}: the data set gives floats, the output of its own transforms; "
            "these take random_erasing, mixup, cutmix and repeats alone; let it give PIL images or uint8"
        )


def _check_channels(settings: AugmentationConfig, channels: int) -> None:
    jitter = settings.color_jitter
    if jitter is not None and channels != 3 and (jitter.saturation or jitter.hue):
        raise UserError(
            f"data.augmentation.color_jitter: saturation and hue need images of 3 channels, not {channels}; brightness "
            "and contrast take 1 or 3"
        )
    for key, value in (("policy", settings.policy), ("color_jitter", jitter)):
        if value is not None and channels not in (1, 3):
            raise UserError(f"data.augmentation.{key}: needs images of 1 or 3 channels, not {channels}")
