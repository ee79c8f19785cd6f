"""The data of the baseline loop: one image at a time, transformed by torchvision."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

NEGATIVES = 16384
"""Negatives of CRD for each sample."""


class ImageBatch(NamedTuple):
    """A batch as the DataLoader collates it; without the batch dimension, one sample.

    Attributes:
        x: images, normalized, [N, channels, height, width].
        y: classes, int64 [N].
        sample: indices in the data set, int64 [N].
        contrast: indices of the sample itself and of its negatives, int64 [N, K + 1]; [N, 0] without negatives.
    """

    x: Tensor
    y: Tensor
    sample: Tensor
    contrast: Tensor


class ImageDataset(torch.utils.data.Dataset[ImageBatch]):
    """A map-style data set that transforms its images one by one and draws the negatives of CRD.

    Args:
        images: uint8 [N, height, width, channels].
        labels: classes, int64 [N].
        transform: from a PIL image to a tensor [channels, height, width].
        negatives: samples of other classes that are drawn for each sample, without replacement where there are enough;
            0 draws none.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        transform: Callable[[Any], Tensor],
        negatives: int = 0,
    ) -> None:
        self.images = images
        self.labels = labels
        self.transform = transform
        self.negatives = negatives
        if negatives:
            self.others = [np.flatnonzero(labels != label) for label in range(labels.max() + 1)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> ImageBatch:
        image = Image.fromarray(self.images[index].squeeze())
        label = int(self.labels[index])
        return ImageBatch(self.transform(image), torch.tensor(label), torch.tensor(index), self._contrast(index, label))

    def _contrast(self, index: int, label: int) -> Tensor:
        if not self.negatives:
            return torch.empty(0, dtype=torch.int64)
        others = self.others[label]
        drawn = np.random.choice(others, self.negatives, replace=self.negatives > len(others))
        return torch.from_numpy(np.hstack(([index], drawn)))


def training_transform(
    size: int, mean: tuple[float, ...], std: tuple[float, ...], padding: int = 4, flip: bool = True
) -> Callable[[Any], Tensor]:
    """Random crop, random horizontal flip, conversion to a tensor, normalization.

    Args:
        size: height and width of the crop, pixels.
        mean, std: of each channel, for values from 0 to 1.
        padding: zeros around the image before it is cropped, pixels.
        flip: whether images are flipped.
    """
    steps: list[Any] = [transforms.RandomCrop(size, padding=padding)]
    if flip:
        steps.append(transforms.RandomHorizontalFlip())
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])  # type: ignore[no-any-return]
