"""Batches from a data set that gives one sample at a time: for large data, or transforms of your own."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.views import check_views
from smskd.data.counter_rng import mix
from smskd.data.images import Images
from smskd.data.listed import known_labels
from smskd.data.loaders.assembly import GroupDraws, assembled, teacher_variant
from smskd.data.loaders.batching import BatchGroup, coalesced_batches, split
from smskd.data.loaders.division import Cut, Division
from smskd.data.loaders.identity import (
    AugmentationSpace,
    augmentation_space,
    further_settings,
    identity_of,
    pixel_settings,
)
from smskd.data.loaders.reading import BatchReader, Crops, Fault, Plan, RawBatch, no_collate
from smskd.data.loaders.sampler import batch_bounds, epoch_order, repeated
from smskd.data.loaders.whole_pictures import WHOLE_PICTURES, CropRequest, crop_keys, crop_settings
from smskd.data.loaders.workers import surviving
from smskd.data.samples import Samples, place_of, read_image, samples_fingerprint
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress, SampleKeys
from smskd.interfaces.terms import DataInfo

_TRANSFORMS = 0x7472616E73
"""Sets the seeds of the user's transforms apart from other hashes of (seed, epoch)."""


class StreamingLoader:
    """The batches of :class:`~smskd.data.loaders.in_memory.MemoryLoader`, from any map-style data set.

    Order, batches and, for images of bytes, augmentation are the same as there for the same seed. But a random resized
    crop of encoded images that their source would resize is one of the whole picture, which is decoded for it, once for
    all views.
    Images of bytes (uint8 tensors and arrays, PIL images) are copied to the device as bytes and augmented
    there. Float tensors are not changed, except by random erasing and mixing where these are set: the data set's own
    transforms are expected to augment and normalise, and there is no strong view of them. Where those transforms draw
    random numbers from ``random``, ``numpy.random`` or torch, they are seeded per batch from (seed, epoch), so that a
    rerun gives the same samples whatever the number of workers, and the program's own random state stays as it was.

    Args:
        dataset: map-style data set of (image, label) pairs, with ``__len__`` and ``__getitem__``; images as in
            :func:`~smskd.data.decode.image_tensor`.
        classes: number of classes; labels are integers below it.
        batch_size: default 64, as published.
        augmentation: for images of bytes; None for values from 0 to 1 and nothing else.
        seed: of order, augmentation and transforms; default 0.
        device: of the batches; default: the CPU.
        shuffle: a new order every epoch; default true. Without it nothing is left out of an epoch.
        drop_last: leave out every incomplete last batch; default false.
        workers: processes that read samples, kept from epoch to epoch; default 0: this process, which is best
            for small sets.
        memory_format: of the images in a batch; default: that of ``augmentation``, otherwise contiguous.
        checksums: give each group of batches its :class:`~smskd.interfaces.batch.SampleKeys`, each sample with a
            checksum of the image that the data set gave. Nothing else shows whether it is the same image as last time.
            :class:`~smskd.data.Images` need none: with them every group has its keys.
        labels: int64 [N], of all samples, of a data set that does not list them; default: those that it lists, if any.

    Raises:
        UserError: no batch can be made. While iterating: an image or label is not what it has to be, the data set
            raises an exception, or the images of a batch differ in shape or type; the sample is named by its index.
            A worker process has ended.
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
        memory_format: torch.memory_format | None = None,
        checksums: bool = False,
        labels: Tensor | None = None,
    ) -> None:
        self._samples = len(dataset)
        self._bounds = batch_bounds(self._samples, batch_size, drop_last=drop_last, training=shuffle)
        own_format = torch.contiguous_format if augmentation is None else augmentation.memory_format
        self._memory_format = memory_format or own_format
        self._augmentation = augmentation and replace(augmentation, memory_format=self._memory_format)
        self._seed = seed
        self._shuffle = shuffle
        self._device = torch.device(device)
        self._workers = workers
        further = None if augmentation is None else augmentation.further
        self._repeats = 1 if further is None else further.repeats
        mixes = further is not None and further.mixes
        self._info = DataInfo(self._samples, classes, batch_size, _labels(dataset, classes, labels), mixes)
        self._dataset = dataset
        self._crops = crop_settings(dataset, augmentation)
        self._reader = BatchReader(dataset, classes, checksums, self._crops)
        self._cut: Cut | None = None
        self._read_by(Plan(self._bounds))

    def _read_by(self, plan: Plan) -> None:
        self._plan = plan
        self._loader: DataLoader[Any] = DataLoader(
            self._reader,  # type: ignore[arg-type]
            batch_sampler=plan,
            collate_fn=no_collate,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            pin_memory=self._device.type == "cuda",
            # A generator of its own: without one the loader draws from the program's global random state.
            generator=torch.Generator(),
        )

    def divided(self, division: Division) -> Self | None:
        """A loader of this process's rows of each batch; None where images are mixed with others of their batch."""
        if self._info.mixed_labels:
            return None
        own = copy.copy(self)
        own._cut = division.cut(self._bounds)
        own._bounds = own._cut.bounds
        own._read_by(Plan(own._bounds))
        return own

    def some(self, batches: range) -> Self:
        """A loader of some consecutive batches of an epoch."""
        own = copy.copy(self)
        own._bounds = self._bounds[batches.start : batches.stop]
        own._read_by(Plan(own._bounds, batches.start))
        return own

    @property
    def info(self) -> DataInfo:
        """Number of samples and classes, batch size, and the labels if the data set lists them."""
        return self._info

    @property
    def augmentation_space(self) -> AugmentationSpace:
        """All the images that the loader can produce, identity_of by :attr:`fingerprint`.

        Raises:
            UserError: one of the samples that are read for it is not what it has to be.
        """
        image = read_image(self._dataset, 0)
        batches = identity_of(self._bounds, self._shuffle)
        augmentation = self._augmentation_of_bytes(image.shape[0])
        if image.dtype != torch.uint8:
            identity = identity_of(self.fingerprint, "floats", *further_settings(augmentation))
            return replace(augmentation_space(identity, self._samples, augmentation, batches), variants=None)
        whole = () if self._crops is None else (WHOLE_PICTURES,)
        identity = identity_of(self.fingerprint, pixel_settings(augmentation), *whole)
        return augmentation_space(identity, self._samples, augmentation, batches)

    @property
    def crops_whole_pictures(self) -> bool:
        """Whether random resized crops are made of whole pictures, not of the images that the source gives."""
        return self._crops is not None

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the data set; see :func:`smskd.data.samples.samples_fingerprint`.

        Raises:
            UserError: one of the samples that are read for it is not what it has to be.
        """
        return samples_fingerprint(self._dataset, self._info.classes)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._bounds)

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """The batches of an epoch. With workers, only one epoch can be iterated over at a time.

        Args:
            number: of the epoch in the run; with the seed it determines order and random draws.
            progress: ``Batch.progress`` of every batch; default: epoch 1 of 1.
            views: names of further views of the images that every batch brings; ``strong`` is the only one, of data
                sets that give images of bytes.

        Raises:
            UserError: there is no such view, or it cannot be made of these images.
        """
        for group in self.groups(number, progress, views):
            yield from split(group)

    def groups(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[BatchGroup]:
        """The batches of :meth:`epoch`, with the same arguments, coalesced into groups; on a CPU one batch each."""
        check_views(views)
        order, draw = repeated(epoch_order(self._samples, self._seed, number, self._shuffle), self._repeats)
        if self._cut is not None:
            order, draw = order[self._cut.places], draw[self._cut.places]
        self._plan.begin(
            order, lambda place: mix(_TRANSFORMS, self._seed, number, place), self._crops_of(number, draw, views)
        )
        first = 0
        for batches in self._coalesced(surviving(self._loader, self._workers)):
            begin, end = self._bounds[first][0], self._bounds[first + len(batches) - 1][1]
            sizes = tuple(len(raw.labels) for raw in batches)
            draws = GroupDraws(self._seed, number, draw[begin:end], sizes, first)
            parts = None if self._cut is None else self._cut.parts[first : first + len(batches)]
            yield BatchGroup(self._batch(batches, draws, progress or Progress(), views), sizes, parts)
            first += len(batches)

    def _crops_of(self, epoch: int, draw: Tensor, views: frozenset[str]) -> Crops | None:
        """The crops of whole pictures of an epoch, by begin and end of a batch."""
        if self._crops is None or self._augmentation is None:
            return None
        keys = crop_keys(self._augmentation, self._seed, views)
        return lambda begin, end: CropRequest(epoch, draw[begin:end].tolist(), keys)

    def _coalesced(self, batches: Iterable[RawBatch | Fault]) -> Iterator[list[RawBatch]]:
        """Consecutive batches whose images have the same shape and type, as many as belong in a group."""
        group: list[RawBatch] = []
        for raw in batches:
            if isinstance(raw, Fault):
                raise UserError(raw.message)
            self._check_listed(raw)
            if group and _form(raw) != _form(group[0]):
                yield group
                group = []
            group.append(raw)
            if len(group) == coalesced_batches(self._device, self._info.batch_size, raw.images.shape[1:]):
                yield group
                group = []
        if group:
            yield group

    def _check_listed(self, raw: RawBatch) -> None:
        """Refuses labels other than those that the data set lists, which some methods are built on."""
        listed = self._info.labels
        if listed is None or torch.equal(listed[raw.index], raw.labels):
            return
        place = int((listed[raw.index] != raw.labels).nonzero()[0])
        row = int(raw.index[place])
        raise UserError(
            f"{place_of(self._dataset, row)} has the label {int(raw.labels[place])}, but the data set lists "
            f"{int(listed[row])} for it (in targets or the like)"
        )

    def _batch(
        self, batches: Sequence[RawBatch], draws: GroupDraws, progress: Progress, views: frozenset[str]
    ) -> Batch:
        images = self._on_device([raw.images for raw in batches])
        augmentation = self._augmentation_of_bytes(images.shape[1])
        keys = self._keys(batches, draws, augmentation)
        if self._crops is not None and augmentation.further is not None:  # the crops are made
            augmentation = replace(augmentation, further=replace(augmentation.further, random_resized_crop=None))
        return assembled(
            images,
            self._on_device([raw.labels for raw in batches]),
            self._on_device([raw.index for raw in batches]),
            draws,
            augmentation,
            keys,
            classes=self._info.classes,
            progress=progress,
            views=views,
            images_of_views={name: self._on_device([raw.views[name] for raw in batches]) for name in batches[0].views},
        )

    def _keys(self, batches: Sequence[RawBatch], draws: GroupDraws, augmentation: Augmentation) -> SampleKeys | None:
        content = [raw.content for raw in batches if raw.content is not None]
        if not content and not isinstance(self._dataset, Images):
            return None
        index = torch.cat([raw.index for raw in batches])
        of_bytes = batches[0].images.dtype == torch.uint8
        variant = teacher_variant(augmentation, self._seed, draws.epoch, draws.draw) if of_bytes else None
        return SampleKeys(index, draws.epoch, variant, torch.cat(content) if content else None)

    def _on_device(self, tensors: Sequence[Tensor]) -> Tensor:
        moved = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
        return moved[0] if len(moved) == 1 else torch.cat(moved)

    def _augmentation_of_bytes(self, channels: int) -> Augmentation:
        if self._augmentation is None:
            mean, std = (0.0,) * channels, (1.0,) * channels
            self._augmentation = Augmentation(mean=mean, std=std, memory_format=self._memory_format).plain()
        return self._augmentation


def _form(raw: RawBatch) -> tuple[torch.Size, torch.dtype]:
    return raw.images.shape[1:], raw.images.dtype


def _labels(dataset: Samples, classes: int, given: Tensor | None) -> Tensor | None:
    """The labels where they are given, or the data set lists them, and all of them are in range."""
    listed = known_labels(dataset)
    labels = given if listed is None else listed
    return labels if labels is not None and bool((labels < classes).all()) else None
