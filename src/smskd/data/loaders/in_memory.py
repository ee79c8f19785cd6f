"""Batches from pictures that lie on the device as bytes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.views import check_views, further_views
from smskd.data.dataset import Images
from smskd.data.loaders.batching import coalesced_batches, split
from smskd.data.loaders.identity import AugmentationSpace, identified, seen_through
from smskd.data.loaders.sampler import batch_bounds, epoch_order
from smskd.interfaces.batch import Batch, Progress, SampleKeys
from smskd.interfaces.terms import DataInfo


class MemoryLoader:
    """Whole batches cut, flipped and normalised on the device, on a GPU several at once; only the epoch's order is
    copied to it.

    Every epoch follows from (seed, epoch number) alone. With ``shuffle`` it is a loader for training: an
    incomplete last batch is kept, as in the published experiments, unless it is a single sample, which
    batch norm cannot take. Without ``shuffle`` nothing is left out: with an augmentation that only
    normalises (:meth:`~smskd.data.augment.crop_flip.Augmentation.plain`) that is a loader for evaluation.

    Args:
        pictures: they are moved to the device once.
        batch_size: default 64, as published.
        augmentation: None for pixel values from 0 to 1 and nothing else.
        seed: of order and augmentation.
        device: where batches are wanted.
        shuffle: a new order every epoch; default true.
        drop_last: leave out every incomplete last batch; default false.

    Raises:
        UserError: no batch can be made, or mean and std do not fit the pictures.
    """

    def __init__(
        self,
        pictures: Images,
        batch_size: int = 64,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        channels = pictures.shape[0]
        if augmentation is None:
            augmentation = Augmentation(mean=(0.0,) * channels, std=(1.0,) * channels).plain()
        augmentation.check_channels(channels)
        self._bounds = batch_bounds(len(pictures), batch_size, drop_last=drop_last, training=shuffle)
        self._pictures = pictures.to(device)
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._seed = seed
        self._shuffle = shuffle

    @property
    def info(self) -> DataInfo:
        """Number of samples and classes, batch size, and the labels on the device."""
        pictures = self._pictures
        return DataInfo(len(pictures), pictures.classes, self._batch_size, pictures.labels)

    @property
    def augmentation(self) -> Augmentation:
        """What the pictures go through."""
        return self._augmentation

    @property
    def augmentation_space(self) -> AugmentationSpace:
        """All the pictures that it can give."""
        identity = identified(self._pictures.fingerprint(), seen_through(self._augmentation))
        batches = identified(self._bounds, self._shuffle)
        return AugmentationSpace(identity, len(self._pictures), self._augmentation.variants, batches)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._bounds)

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """The batches of an epoch.

        Args:
            number: of the epoch in the run; with the seed it decides order and augmentation.
            progress: goes into every batch; default epoch 1 of 1.
            views: names of further views of the pictures that every batch brings; there is ``strong``.

        Raises:
            UserError: no view is called so, or the pictures have neither 1 nor 3 channels.
        """
        check_views(views)
        progress = progress or Progress()
        pictures = self._pictures
        drawn = epoch_order(len(pictures), self._seed, number, self._shuffle)
        met = self._augmentation.variant(self._seed, number, drawn)
        order, variants = drawn.to(pictures.images.device), met.to(pictures.images.device)
        together = coalesced_batches(pictures.images.device, self._batch_size, pictures.shape)
        for first in range(0, len(self), together):
            bounds = self._bounds[first : first + together]
            begin, end = bounds[0][0], bounds[-1][1]
            draw = SampleKeys(drawn[begin:end], number, met[begin:end])
            batch = self._batch(order[begin:end], variants[begin:end], draw, progress, views)
            yield from split(batch, [end - begin for begin, end in bounds])

    def _batch(
        self, index: Tensor, variants: Tensor, draw: SampleKeys, progress: Progress, views: frozenset[str]
    ) -> Batch:
        images = self._pictures.images[index]
        x = self._augmentation.apply(images, variants)
        further = further_views(views, images, self._augmentation, seed=self._seed, epoch=draw.epoch, index=index)
        return Batch(x, self._pictures.labels[index], index, progress, further, draw)
