"""Reads batches from a map-style data set, in this process or in workers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from smskd.data.loaders.whole_pictures import CropRequest, CropSettings, cropped_batch
from smskd.data.samples import Samples, checksum, described, place_of, read_sample
from smskd.data.seeded import seeded
from smskd.errors import UserError
from smskd.interfaces.batch import TRAINED_VIEW


@dataclass(frozen=True)
class BatchRequest:
    """A batch to be read: the seed of its random draws and its samples."""

    seed: int
    indices: list[int]
    crops: CropRequest | None = None
    """Of whole pictures; None: images are read as they come."""


@dataclass(frozen=True)
class RawBatch:
    """A batch as the data set gives it, on the CPU."""

    images: Tensor
    """uint8 or float32 [N, channels, height, width]."""
    labels: Tensor
    """int64 [N]"""
    index: Tensor
    """int64 [N]"""
    content: Tensor | None
    """int64 [N], checksums of the images; None where they are not wanted."""
    views: Mapping[str, Tensor] = field(default_factory=dict)
    """Other crops of the same pictures by view, like ``images``."""

    def pin_memory(self) -> "RawBatch":
        """The same in page-locked memory, except the checksums, which stay on the CPU. ``DataLoader`` calls it."""
        views = {name: view.pin_memory() for name, view in self.views.items()}
        return RawBatch(
            self.images.pin_memory(), self.labels.pin_memory(), self.index.pin_memory(), self.content, views
        )


@dataclass(frozen=True)
class Fault:
    """A user's mistake on its way from a worker, which would wrap an exception in a traceback."""

    message: str


Crops = Callable[[int, int], CropRequest | None]


def _none(begin: int, end: int) -> None:
    return None


class Plan:
    """The batches of the current epoch, as the batch sampler of a ``DataLoader``.

    Args:
        bounds: begin and end of each batch in the order of an epoch.
        first: number of the first of them in the epoch.
    """

    def __init__(self, bounds: Sequence[tuple[int, int]], first: int = 0) -> None:
        self._bounds = bounds
        self._first = first
        self._order = torch.empty(0, dtype=torch.int64)
        self._seed: Callable[[int], int] = int
        self._crops: Crops = _none

    def begin(self, order: Tensor, seed: Callable[[int], int], crops: "Crops | None" = None) -> None:
        """Sets the epoch.

        Args:
            order: of the samples, int64 [N], on the CPU.
            seed: the seed of each batch, by its number from 0.
            crops: the crops of whole pictures of each batch, by its begin and end in the order; None: none.
        """
        self._order, self._seed, self._crops = order, seed, crops or _none

    def __iter__(self) -> Iterator[list[BatchRequest]]:
        # One request at a time: lists of all samples of a large data set would take long before the first batch.
        for number, (begin, end) in enumerate(self._bounds, self._first):
            yield [BatchRequest(self._seed(number), self._order[begin:end].tolist(), self._crops(begin, end))]

    def __len__(self) -> int:
        return len(self._bounds)


class BatchReader:
    """A map-style data set of whole batches.

    Args:
        dataset: of samples.
        classes: number of classes; labels are integers below it.
        checksums: whether each image gets a checksum.
        crops: of whole pictures; None: images are read as they come.
    """

    def __init__(self, dataset: Samples, classes: int, checksums: bool, crops: CropSettings | None = None) -> None:
        self.dataset = dataset
        self._crops = crops
        self._classes = classes
        self._checksums = checksums

    def __getitems__(self, requests: list[BatchRequest]) -> RawBatch | Fault:
        (request,) = requests
        try:
            return self.read(request)
        except UserError as error:
            if get_worker_info() is None:
                raise
            return Fault(str(error))

    def read(self, request: BatchRequest) -> RawBatch:
        """A batch.

        Raises:
            UserError: an image or a label is not what it has to be, or images differ in shape or type.
        """
        if self._crops is not None and request.crops is not None:
            return self._cropped(request, self._crops, request.crops)
        with seeded(request.seed):
            samples = [read_sample(self.dataset, index, self._classes) for index in request.indices]
        images, labels = zip(*samples, strict=True)
        content = torch.tensor([checksum(image) for image in images]) if self._checksums else None
        return RawBatch(
            _stacked(self.dataset, images, request.indices),
            torch.tensor(labels),
            torch.tensor(request.indices),
            content,
        )

    def _cropped(self, request: BatchRequest, settings: CropSettings, crops: CropRequest) -> RawBatch:
        views, labels = cropped_batch(self.dataset, request.indices, settings, crops)
        images = views.pop(TRAINED_VIEW)
        content = torch.tensor([checksum(image) for image in images]) if self._checksums else None
        return RawBatch(images, torch.tensor(labels), torch.tensor(request.indices), content, views)


def no_collate(batch: Any) -> Any:
    """The collate function of a ``DataLoader`` whose data set gives whole batches."""
    return batch


def _stacked(dataset: Samples, images: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
    first = images[0]
    for image, index in zip(images, indices, strict=True):
        if image.shape != first.shape or image.dtype != first.dtype:
            raise UserError(
                f"{place_of(dataset, index)} is {described(image)} but {place_of(dataset, indices[0])} "
                f"{described(first)}; bring all to one size and type in the data set's transform"
            )
    return torch.stack(list(images))
