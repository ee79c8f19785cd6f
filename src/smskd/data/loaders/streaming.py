"""Batches from a data set that gives one sample at a time: for large data, or transforms of your own."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as MapStyle

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.views import check_views, further_views
from smskd.data.counter_rng import mix
from smskd.data.loaders.decode import image_tensor, label_index
from smskd.data.loaders.identity import AugmentationSpace, identified, seen_through
from smskd.data.loaders.sampler import batch_bounds, epoch_order
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress, SampleKeys
from smskd.interfaces.terms import DataInfo

_TRANSFORMS = 0x7472616E73
"""Sets the draws of the user's transforms apart from other draws from (seed, epoch)."""

_CHECKSUM_BYTES = 8


class Samples(Protocol):
    """A map-style data set of (image, label) pairs, as torchvision's."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class StreamingLoader:
    """The batches of :class:`~smskd.data.loaders.in_memory.MemoryLoader`, from any map-style data set.

    Order, batches and, for pictures of bytes, augmentation are the same as there for the same seed.
    Pictures of bytes (uint8 tensors and arrays, PIL pictures) travel to the device as bytes and are
    augmented there. Float tensors are taken as they are: the data set's own transforms have done all there
    is to do, and there is no strong view of them. Where those transforms draw random numbers from ``random``,
    ``numpy.random`` or torch, they are seeded per batch from (seed, epoch), so that a rerun gives the same
    samples whatever the number of workers, and the program's own random state stays as it was.

    Args:
        dataset: with ``__len__`` and ``__getitem__``; images as in
            :func:`~smskd.data.loaders.decode.image_tensor`.
        classes: number of classes; labels are integers below it.
        batch_size: default 64, as published.
        augmentation: for pictures of bytes; None for values from 0 to 1 and nothing else.
        seed: of order, augmentation and transforms.
        device: where batches are wanted.
        shuffle: a new order every epoch; default true. Without it nothing is left out of an epoch.
        drop_last: leave out every incomplete last batch; default false.
        workers: processes that load samples, kept from epoch to epoch; default 0, loading in this process,
            which is best for small sets.
        memory_format: of float images; those of bytes have the augmentation's.
        checksums: give each batch its :class:`~smskd.interfaces.batch.SampleKeys`, each sample with a checksum of
            what the data set gave. Nothing else tells whether that is the same as the time before.

    Raises:
        UserError: no batch can be made. While iterating: an image or label is not what it has to be, or the
            images of a batch differ in shape or type; the sample is named by its index.
    """

    def __init__(
        self,
        dataset: Samples,
        classes: int,
        batch_size: int = 64,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shuffle: bool = True,
        drop_last: bool = False,
        workers: int = 0,
        memory_format: torch.memory_format = torch.contiguous_format,
        checksums: bool = False,
    ) -> None:
        self._samples = len(dataset)
        self._bounds = batch_bounds(self._samples, batch_size, drop_last=drop_last, training=shuffle)
        self._augmentation = augmentation
        self._seed = seed
        self._shuffle = shuffle
        self._device = torch.device(device)
        self._memory_format = memory_format
        self._info = DataInfo(self._samples, classes, batch_size, _known_labels(dataset, classes))
        self._batches = identified(self._bounds, shuffle)
        self._reader = _Reader(dataset, classes, checksums)
        self._plan = _Plan()
        self._loader: DataLoader[Any] = DataLoader(
            self._reader,
            batch_sampler=self._plan,
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._device.type == "cuda",
            # A generator of its own: without one the loader draws from the program's global random state.
            generator=torch.Generator(),
        )

    @property
    def info(self) -> DataInfo:
        """Number of samples and classes, batch size, and labels if ``targets`` of the data set tells them."""
        return self._info

    @property
    def augmentation_space(self) -> AugmentationSpace:
        """All the pictures that it can give, told by the data set's type and by three of its samples.

        Raises:
            UserError: one of the three is not what it has to be.
        """
        indices = sorted({0, self._samples // 2, self._samples - 1})
        seen = [self._reader.load(_Wanted(_TRANSFORMS, [index]), checksums=True) for index in indices]
        images = seen[0][0]
        facts = (
            type(self._reader.dataset).__qualname__,
            self._samples,
            [images.shape, *(int(content) for *_, content in seen if content is not None)],
        )
        if images.dtype != torch.uint8:
            return AugmentationSpace(identified(*facts, "floats"), self._samples, None, self._batches)
        augmentation = self._augmentation_of_bytes(images.shape[1])
        identity = identified(*facts, seen_through(augmentation))
        return AugmentationSpace(identity, self._samples, augmentation.variants, self._batches)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._bounds)

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """The batches of an epoch. With workers, only one epoch can be under way at a time.

        Args:
            number: of the epoch in the run; with the seed it decides order and random draws.
            progress: goes into every batch; default epoch 1 of 1.
            views: names of further views of the pictures that every batch brings; there is ``strong``, of data
                sets that give pictures of bytes.

        Raises:
            UserError: no view is called so, or it cannot be made of these pictures.
        """
        check_views(views)
        progress = progress or Progress()
        order = epoch_order(self._samples, self._seed, number, self._shuffle).tolist()
        self._plan.batches = [
            _Wanted(mix(_TRANSFORMS, self._seed, number, place), order[begin:end])
            for place, (begin, end) in enumerate(self._bounds)
        ]
        for loaded in self._loader:
            if isinstance(loaded, _Fault):
                raise UserError(loaded.message)
            images, y, index = (part.to(self._device, non_blocking=True) for part in loaded[:3])
            augmentation = self._augmentation_of_bytes(images.shape[1])
            further = further_views(views, images, augmentation, seed=self._seed, epoch=number, index=index)
            draw = self._draw(number, images.dtype, augmentation, loaded[2], loaded[3])
            yield Batch(self._ready(images, index, number), y, index, progress, further, draw)

    def _draw(
        self, epoch: int, dtype: torch.dtype, augmentation: Augmentation, index: Tensor, content: Tensor | None
    ) -> SampleKeys | None:
        if content is None:
            return None
        variant = augmentation.variant(self._seed, epoch, index) if dtype == torch.uint8 else None
        return SampleKeys(index, epoch, variant, content)

    def _ready(self, images: Tensor, index: Tensor, epoch: int) -> Tensor:
        if images.dtype != torch.uint8:
            return images.contiguous(memory_format=self._memory_format)
        augmentation = self._augmentation_of_bytes(images.shape[1])
        return augmentation(images, seed=self._seed, epoch=epoch, index=index)

    def _augmentation_of_bytes(self, channels: int) -> Augmentation:
        if self._augmentation is None:
            self._augmentation = Augmentation(mean=(0.0,) * channels, std=(1.0,) * channels).plain()
        return self._augmentation


@dataclass(frozen=True)
class _Wanted:
    """A batch to be loaded: the seed of its random draws and its samples."""

    seed: int
    indices: list[int]


@dataclass(frozen=True)
class _Fault:
    """A user's mistake on its way from a worker, which would wrap an exception in a traceback."""

    message: str


class _Plan:
    """The batches of the epoch under way, as the loader's batch sampler."""

    batches: Sequence[_Wanted] = ()

    def __iter__(self) -> Iterator[list[_Wanted]]:
        return iter([[batch] for batch in self.batches])

    def __len__(self) -> int:
        return len(self.batches)


_Loaded = tuple[Tensor, Tensor, Tensor, Tensor | None]


class _Reader(MapStyle[Any]):
    """Loads whole batches of the data set."""

    def __init__(self, dataset: Samples, classes: int, checksums: bool) -> None:
        self.dataset = dataset
        self._classes = classes
        self._checksums = checksums

    def __getitems__(self, wanted: list[_Wanted]) -> _Loaded | _Fault:
        (batch,) = wanted
        try:
            return self.load(batch, checksums=self._checksums)
        except UserError as error:
            return _Fault(str(error))

    def load(self, batch: _Wanted, *, checksums: bool) -> _Loaded:
        """Images, labels, indices and, where they are wanted, checksums of the images."""
        with _seeded(batch.seed):
            images, labels = zip(*(self._sample(index) for index in batch.indices), strict=True)
        content = torch.tensor([_checksum(image) for image in images]) if checksums else None
        return _stacked(images, batch.indices), torch.tensor(labels), torch.tensor(batch.indices), content

    def _sample(self, index: int) -> tuple[Tensor, int]:
        sample = self.dataset[index]
        if not isinstance(sample, Sequence) or len(sample) != 2:
            raise UserError(f"sample {index} is a {type(sample).__name__}; it has to be a pair (image, label)")
        try:
            return image_tensor(sample[0]), label_index(sample[1], self._classes)
        except UserError as error:
            raise UserError(f"sample {index}: {error}") from error


def _checksum(image: Tensor) -> int:
    """63 bits of a hash of type, shape and values."""
    digest = hashlib.blake2b(_described(image).encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(image.contiguous().numpy().data)
    return int.from_bytes(digest.digest(), "little") >> 1


def _stacked(images: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
    first = images[0]
    for image, index in zip(images, indices, strict=True):
        if image.shape != first.shape or image.dtype != first.dtype:
            raise UserError(
                f"sample {index} is {_described(image)} but sample {indices[0]} {_described(first)}; "
                "bring all to one size and type in the data set's transform"
            )
    return torch.stack(list(images))


def _described(image: Tensor) -> str:
    return f"{str(image.dtype).removeprefix('torch.')} {list(image.shape)}"


def _as_it_is(loaded: Any) -> Any:
    return loaded


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random draws from a seed; in the program's own process its random state is put back afterwards."""
    keep = get_worker_info() is None
    before = (random.getstate(), np.random.get_state(), torch.get_rng_state()) if keep else None
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed: that would reseed the GPUs too, where nothing is drawn.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        if before is not None:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])


def _known_labels(dataset: Any, classes: int) -> Tensor | None:
    """The labels where the data set tells them without loading, as those of torchvision in ``targets``."""
    labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if labels is None or getattr(dataset, "target_transform", None) is not None:
        return None
    try:
        known = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        return None
    if known.dtype.is_floating_point or known.dtype == torch.bool or known.shape != (len(dataset),):
        return None
    return known.to(torch.int64) if bool(((known >= 0) & (known < classes)).all()) else None
