"""Random resized crops of whole pictures, which are decoded for their boxes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from smskd.data.augment.boxes import crop_boxes
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.pipeline import crop_key
from smskd.data.augment.strong import strong_key
from smskd.data.images import Images
from smskd.data.loaders.assembly import has_teacher_view, teacher_seed
from smskd.data.samples import Samples, StreamedSamples
from smskd.data.sources.pictures import Picture
from smskd.interfaces.batch import TEACHER_VIEW, TRAINED_VIEW

WHOLE_PICTURES = "crops of whole pictures"
"""Sets them apart from crops of images that have been brought to one size."""


@runtime_checkable
class Pictures(Protocol):
    """A map-style data set whose samples are encoded pictures that it brings to one size."""

    @property
    def resizes(self) -> bool:
        """Whether it changes the pictures, so that a crop of its images is not one of a whole picture."""

    def picture(self, row: int) -> tuple[Picture, int]:
        """The picture of a row, whose header has been read, and its label."""


@dataclass(frozen=True)
class CropSettings:
    """The random resized crop of a loader: ``size`` (height, width) of the result, ``scale`` and ``ratio`` of boxes."""

    size: tuple[int, int]
    scale: tuple[float, float]
    ratio: tuple[float, float]


@dataclass(frozen=True)
class CropRequest:
    """The crops of a batch.

    Attributes:
        epoch: of the run.
        draws: number of the draw of each sample.
        keys: of the draws of the images to train on, and of each further view, by name.
    """

    epoch: int
    draws: Sequence[int]
    keys: Mapping[str, int]


def crop_settings(dataset: Samples, augmentation: Augmentation | None) -> CropSettings | None:
    """The crops of whole pictures that a loader makes; None where there are none, or images are cropped as they come.

    Args:
        dataset: of the loader.
        augmentation: of the images.
    """
    crop = None if augmentation is None or augmentation.further is None else augmentation.further.random_resized_crop
    if crop is None or isinstance(dataset, Images) or _pictures(dataset) is None:
        return None
    assert isinstance(dataset, StreamedSamples)
    return CropSettings(dataset.shape[1:], crop.scale, crop.ratio)


def crop_keys(augmentation: Augmentation, seed: int, views: frozenset[str]) -> dict[str, int]:
    """The key of the draws of each view, as without crops of whole pictures."""
    keys = {TRAINED_VIEW: crop_key(seed)}
    if "strong" in views:
        keys["strong"] = crop_key(strong_key(seed))
    if has_teacher_view(augmentation):
        keys[TEACHER_VIEW] = crop_key(teacher_seed(seed))
    return keys


def cropped_batch(
    dataset: Samples, rows: Sequence[int], settings: CropSettings, request: CropRequest
) -> tuple[dict[str, Tensor], list[int]]:
    """The crops of some samples by view, uint8 [N, channels, height, width], and the labels.

    Raises:
        UserError: a picture cannot be read or decoded.
    """
    pictures = _pictures(dataset)
    assert pictures is not None
    found = [pictures.picture(row) for row in rows]
    height, width = torch.tensor([picture.size for picture, _ in found]).unbind(1)
    draws = torch.tensor(request.draws)
    drawn = [
        crop_boxes(key, request.epoch, draws, (height, width), settings.scale, settings.ratio)
        for key in request.keys.values()
    ]
    boxes = [torch.stack([own.top, own.left, own.height, own.width], dim=1).tolist() for own in drawn]
    crops: list[Tensor] = []
    for place, (picture, _) in enumerate(found):
        crops.append(picture.crops([own[place] for own in boxes], settings.size))
    views = {name: torch.stack([crop[number] for crop in crops]) for number, name in enumerate(request.keys)}
    return views, [label for _, label in found]


def _pictures(dataset: Samples) -> Pictures | None:
    """The data set, if it gives whole pictures that its images are not."""
    inner = dataset.dataset if isinstance(dataset, StreamedSamples) else None
    return dataset if isinstance(inner, Pictures) and inner.resizes else None
