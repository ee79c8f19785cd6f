"""Reads batches from a map-style data set, in this process or in workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smskd.data.decode import image_tensor, label_index
from smskd.data.samples import Samples, checked_pair, checksum, described
from smskd.data.seeded import seeded
from smskd.errors import UserError


@dataclass(frozen=True)
class BatchRequest:
    """A batch to be read: the seed of its random draws and its samples."""

    seed: int
    indices: list[int]


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

    def pin_memory(self) -> "RawBatch":
        """The same in page-locked memory, except the checksums, which stay on the CPU. ``DataLoader`` calls it."""
        return RawBatch(self.images.pin_memory(), self.labels.pin_memory(), self.index.pin_memory(), self.content)


@dataclass(frozen=True)
class Fault:
    """A user's mistake on its way from a worker, which would wrap an exception in a traceback."""

    message: str


class Plan:
    """The batches of the current epoch, as the batch sampler of a ``DataLoader``."""

    batches: Sequence[BatchRequest] = ()

    def __iter__(self) -> Iterator[list[BatchRequest]]:
        return iter([[batch] for batch in self.batches])

    def __len__(self) -> int:
        return len(self.batches)


class BatchReader:
    """A map-style data set of whole batches.

    Args:
        dataset: of samples.
        classes: number of classes; labels are integers below it.
        checksums: whether each image gets a checksum.
    """

    def __init__(self, dataset: Samples, classes: int, checksums: bool) -> None:
        self.dataset = dataset
        self._classes = classes
        self._checksums = checksums

    def __getitems__(self, requests: list[BatchRequest]) -> RawBatch | Fault:
        (request,) = requests
        try:
            return self.read(request)
        except UserError as error:
            return Fault(str(error))

    def read(self, request: BatchRequest) -> RawBatch:
        """A batch.

        Raises:
            UserError: an image or a label is not what it has to be, or images differ in shape or type.
        """
        with seeded(request.seed):
            images, labels = zip(*(self._sample(index) for index in request.indices), strict=True)
        content = torch.tensor([checksum(image) for image in images]) if self._checksums else None
        return RawBatch(_stacked(images, request.indices), torch.tensor(labels), torch.tensor(request.indices), content)

    def _sample(self, index: int) -> tuple[Tensor, int]:
        image, label = checked_pair(self.dataset[index], index)
        try:
            return image_tensor(image), label_index(label, self._classes)
        except UserError as error:
            raise UserError(f"sample {index}: {error}") from error


def no_collate(batch: Any) -> Any:
    """The collate function of a ``DataLoader`` whose data set gives whole batches."""
    return batch


def _stacked(images: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
    first = images[0]
    for image, index in zip(images, indices, strict=True):
        if image.shape != first.shape or image.dtype != first.dtype:
            raise UserError(
                f"sample {index} is {described(image)} but sample {indices[0]} {described(first)}; "
                "bring all to one size and type in the data set's transform"
            )
    return torch.stack(list(images))
