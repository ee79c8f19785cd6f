"""All random changes of single images, in the order of the usual recipes, with normalisation among them."""

import torch
from torch import Tensor

from smskd.config.augmentation import AugmentationConfig
from smskd.data.augment.boxes import crop_boxes
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.draws import between, uniform
from smskd.data.augment.erasing import erased
from smskd.data.augment.resized_crop import resized_crop
from smskd.data.counter_rng import mix
from smskd.data.transfer import to_device

_CROP, _ROTATION, _POLICY, _JITTER, _ERASING = (0x617567 + step for step in range(5))
"""Set the hashes of the steps apart from each other."""


def augmented(
    images: Tensor, augmentation: Augmentation, *, seed: int, epoch: int, index: Tensor, variant: Tensor | None = None
) -> Tensor:
    """Images as the network is given them, apart from mixing; they follow from (seed, epoch, index) alone.

    Args:
        images: uint8 [N, channels, height, width]; or floats, the output of the data set's own transforms, which are
            neither normalised nor changed otherwise than by random erasing.
        augmentation: of the images.
        seed: of the draws.
        epoch: of the run.
        index: [N] int64 number of each draw, on the CPU.
        variant: [N] int64 of crop and flip, on the device of the images; default: that of (seed, epoch, index).

    Returns:
        float32 of the same shape, in the memory format of the augmentation.
    """
    further = augmentation.further
    if images.dtype != torch.uint8:
        x = images.contiguous(memory_format=augmentation.memory_format)
    else:
        if variant is None:
            variant = to_device(augmentation.variant(seed, epoch, index), images.device)
        if further is None:
            return augmentation.apply(images, variant)
        images = cropped(images, augmentation, variant, seed=seed, epoch=epoch, index=index)
        x = augmentation.plain().apply(_distorted(images, further, seed, epoch, index))
    if further is not None and further.random_erasing is not None:
        x = erased(further.random_erasing, x, key=mix(_ERASING, seed), epoch=epoch, index=index)
    return x


def cropped(
    images: Tensor, augmentation: Augmentation, variant: Tensor, *, seed: int, epoch: int, index: Tensor
) -> Tensor:
    """Random resized crop, or crop, and flip, uint8; arguments as of :func:`augmented`."""
    crop = None if augmentation.further is None else augmentation.further.random_resized_crop
    if crop is not None:
        size = (images.shape[2], images.shape[3])
        boxes = crop_boxes(crop_key(seed), epoch, index, size, crop.scale, crop.ratio)
        images = resized_crop(images, boxes, size)
    return augmentation.crop_and_flip(images, variant)


def crop_key(seed: int) -> int:
    """Of the draws of random resized crops."""
    return mix(_CROP, seed)


def _distorted(images: Tensor, config: AugmentationConfig, seed: int, epoch: int, index: Tensor) -> Tensor:
    """Rotation, policy and colour jitter."""
    if config.rotation is not None:
        from smskd.data.augment.operations import rotate

        share = uniform(mix(_ROTATION, seed), epoch, index, 1)[:, 0]
        degrees = between(share, -config.rotation, config.rotation).float()
        images = rotate(images, to_device(degrees, images.device))
    if config.policy is not None:
        from smskd.data.augment.policies import apply_policy

        images = apply_policy(config.policy, images, key=mix(_POLICY, seed), epoch=epoch, index=index)
    if config.color_jitter is not None:
        from smskd.data.augment.color_jitter import color_jitter

        images = color_jitter(config.color_jitter, images, key=mix(_JITTER, seed), epoch=epoch, index=index)
    return images
