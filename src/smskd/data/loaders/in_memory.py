"""Batches of images that lie on the device as bytes."""

import copy
from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.views import check_views
from smskd.data.images import Images
from smskd.data.loaders.assembly import GroupDraws, assembled, teacher_variant
from smskd.data.loaders.batching import BatchGroup, coalesced_batches, split
from smskd.data.loaders.division import Cut, Division
from smskd.data.loaders.identity import AugmentationSpace, augmentation_space, identity_of, pixel_settings
from smskd.data.loaders.sampler import batch_bounds, epoch_order, repeated
from smskd.interfaces.batch import Batch, Progress, SampleKeys
from smskd.interfaces.terms import DataInfo


class MemoryLoader:
    """Batches of images in memory, which are cropped, flipped and normalised on the device.

    On a GPU several batches are augmented at once. The only copy to it is the order of an epoch.

    Every epoch follows from (seed, epoch number) alone. With ``shuffle`` it is a loader for training: an
    incomplete last batch is kept, as in the published experiments, unless it is a single sample, which
    batch norm cannot take. Without ``shuffle`` nothing is left out: with an augmentation that only
    normalises (:meth:`~smskd.data.augment.crop_flip.Augmentation.plain`) that is a loader for evaluation.

    Args:
        images: they are moved to the device once.
        batch_size: default 64, as published.
        augmentation: None for pixel values from 0 to 1 and nothing else.
        seed: of order and augmentation; default 0.
        device: of the batches; default: the CPU.
        shuffle: a new order every epoch; default true.
        drop_last: leave out every incomplete last batch; default false.

    Raises:
        UserError: no batch can be made, or mean and std do not fit the images.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int = 64,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        channels = images.shape[0]
        if augmentation is None:
            augmentation = Augmentation(mean=(0.0,) * channels, std=(1.0,) * channels).plain()
        augmentation.check_channels(channels)
        self._bounds = batch_bounds(len(images), batch_size, drop_last=drop_last, training=shuffle)
        self._images = images.to(device)
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._seed = seed
        self._shuffle = shuffle
        self._cut: Cut | None = None

    @property
    def info(self) -> DataInfo:
        """Number of samples and classes, batch size, and the labels on the device."""
        images = self._images
        return DataInfo(len(images), images.classes, self._batch_size, images.labels, self._mixes)

    @property
    def augmentation(self) -> Augmentation:
        """Of the images: crop, flip, further changes and normalisation."""
        return self._augmentation

    @property
    def augmentation_space(self) -> AugmentationSpace:
        """All the images that the loader can produce."""
        identity = identity_of(self.fingerprint, pixel_settings(self._augmentation))
        batches = identity_of(self._bounds, self._shuffle)
        return augmentation_space(identity, len(self._images), self._augmentation, batches)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the images; see :meth:`smskd.data.Images.fingerprint`."""
        return self._images.fingerprint()

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._bounds)

    def divided(self, division: Division) -> Self | None:
        """A loader of this process's rows of each batch; None where images are mixed with others of their batch."""
        if self._mixes:
            return None
        own = copy.copy(self)
        own._cut = division.cut(self._bounds)
        own._bounds = own._cut.bounds
        return own

    def some(self, batches: range) -> Self:
        """A loader of some consecutive batches of an epoch."""
        own = copy.copy(self)
        own._bounds = self._bounds[batches.start : batches.stop]
        return own

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """The batches of an epoch.

        Args:
            number: of the epoch in the run; with the seed it determines order and augmentation.
            progress: ``Batch.progress`` of every batch; default: epoch 1 of 1.
            views: names of further views of the images that every batch brings; ``strong`` is the only one.

        Raises:
            UserError: there is no such view, or the images have neither 1 nor 3 channels.
        """
        for group in self.groups(number, progress, views):
            yield from split(group)

    def groups(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[BatchGroup]:
        """The batches of :meth:`epoch`, with the same arguments, coalesced into groups; on a CPU one batch each."""
        check_views(views)
        progress = progress or Progress()
        device = self._images.pixels.device
        order, draw = repeated(epoch_order(len(self._images), self._seed, number, self._shuffle), self._repeats)
        if self._cut is not None:
            order, draw = order[self._cut.places], draw[self._cut.places]
        variant = self._augmentation.variant(self._seed, number, draw)
        order_on_device, variant_on_device = order.to(device), variant.to(device)
        of_teacher = teacher_variant(self._augmentation, self._seed, number, draw)
        count = coalesced_batches(device, self._batch_size, self._images.shape)
        for first in range(0, len(self), count):
            bounds = self._bounds[first : first + count]
            rows = slice(bounds[0][0], bounds[-1][1])
            sizes = tuple(end - begin for begin, end in bounds)
            keys = SampleKeys(order[rows], number, None if of_teacher is None else of_teacher[rows])
            index = order_on_device[rows]
            batch = assembled(
                self._images.pixels[index],
                self._images.labels[index],
                index,
                GroupDraws(self._seed, number, draw[rows], sizes, first),
                self._augmentation,
                keys,
                classes=self._images.classes,
                progress=progress,
                views=views,
                variant=variant_on_device[rows],
            )
            yield BatchGroup(batch, sizes, None if self._cut is None else self._cut.parts[first : first + count])

    @property
    def enumerates_variants(self) -> bool:
        """Whether :meth:`variants` gives what the teacher is given: crop and flip are all that is random."""
        return self._augmentation.further is None

    def variants(self, index: Tensor, variant: Tensor) -> Batch:
        """Images by the numbers of sample and augmentation variant, with the keys that they have in every epoch.

        Args:
            index: [N] int64 position of each sample in the data set, on the CPU.
            variant: [N] int64, likewise.
        """
        device = self._images.pixels.device
        on_device = index.to(device)
        x = self._augmentation.apply(self._images.pixels[on_device], variant.to(device))
        return Batch(x, self._images.labels[on_device], on_device, keys=SampleKeys(index, 1, variant))

    @property
    def _repeats(self) -> int:
        return 1 if self._augmentation.further is None else self._augmentation.further.repeats

    @property
    def _mixes(self) -> bool:
        return self._augmentation.further is not None and self._augmentation.further.mixes
