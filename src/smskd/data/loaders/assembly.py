"""From the images and labels of batches to what is trained on: augmented, with further views, mixed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.mixing import Mixing, drawn_mixing
from smskd.data.augment.pipeline import augmented
from smskd.data.augment.views import further_views
from smskd.data.counter_rng import mix, mix_tensor
from smskd.errors import UserError
from smskd.interfaces.batch import TEACHER_VIEW, Batch, Progress, SampleKeys

_TEACHER = 0x74656163686572
"""Sets the hashes of the teacher's view apart from those of the student's."""


@dataclass(frozen=True)
class GroupDraws:
    """Everything that the random draws of consecutive batches follow from.

    Attributes:
        seed: of the loader.
        epoch: of the run.
        draw: [N] int64 number of the draw of each sample within the epoch, on the CPU: its index, plus the number of
            samples for each earlier occurrence in the epoch.
        sizes: number of samples in each batch.
        first: number of the first batch in the epoch, from 0.
    """

    seed: int
    epoch: int
    draw: Tensor
    sizes: tuple[int, ...]
    first: int


def assembled(
    images: Tensor,
    labels: Tensor,
    index: Tensor,
    draws: GroupDraws,
    augmentation: Augmentation,
    keys: SampleKeys | None,
    *,
    classes: int,
    progress: Progress,
    views: Collection[str],
    variant: Tensor | None = None,
    images_of_views: Mapping[str, Tensor] | None = None,
) -> Batch:
    """The samples of consecutive batches as one batch.

    Args:
        images: uint8 or float32 [N, channels, height, width].
        labels: [N] int64, on the device of the images; likewise ``index``.
        index: [N] int64 position of each sample in the data set.
        draws: of these batches.
        augmentation: of the images.
        keys: of the images as the teacher is given them, before mixing; None: they are not identified.
        classes: number of classes.
        progress: of the stage.
        views: names of further views.
        variant: [N] int64 of crop and flip of the images to train on, on their device, where it is known.
        images_of_views: the images of which further views are made, by name; those that are missing are made of
            ``images``.

    Raises:
        UserError: a view cannot be made of these images.
    """
    seed, epoch, draw = draws.seed, draws.epoch, draws.draw
    x = augmented(images, augmentation, seed=seed, epoch=epoch, index=draw, variant=variant)
    own = images_of_views or {}
    others = further_views(views, own.get("strong", images), augmentation, seed=seed, epoch=epoch, index=draw)
    if has_teacher_view(augmentation):
        if images.dtype != torch.uint8:
            raise UserError("data.augmentation.consistent: the teacher's view is made of images of bytes, not floats")
        others[TEACHER_VIEW] = augmented(
            own.get(TEACHER_VIEW, images), augmentation, seed=teacher_seed(seed), epoch=epoch, index=draw
        )
    batch = Batch(x, labels, index, progress, others, keys)
    mixing = _mixing(augmentation, draws, x)
    return batch if mixing is None else _mixed(batch, x, mixing, classes)


def has_teacher_view(augmentation: Augmentation) -> bool:
    """Whether the teacher is given other images than the student."""
    return augmentation.further is not None and not augmentation.further.consistent


def teacher_seed(seed: int) -> int:
    """The seed of the teacher's view, from that of the loader."""
    return mix(_TEACHER, seed)


def teacher_variant(augmentation: Augmentation, seed: int, epoch: int, draw: Tensor) -> Tensor | None:
    """The variant of each image as the teacher is given it, [N] int64; None where variants cannot be counted."""
    if augmentation.further is not None and not augmentation.further.countable:
        return None
    return augmentation.variant(teacher_seed(seed) if has_teacher_view(augmentation) else seed, epoch, draw)


def _mixing(augmentation: Augmentation, draws: GroupDraws, x: Tensor) -> Mixing | None:
    further = augmentation.further
    if further is None or not further.mixes:
        return None
    return drawn_mixing(
        further,
        draws.sizes,
        (x.shape[2], x.shape[3]),
        seed=draws.seed,
        epoch=draws.epoch,
        first=draws.first,
        device=x.device,
    )


def _mixed(batch: Batch, x: Tensor, mixing: Mixing, classes: int) -> Batch:
    """The batch with its images, in every view, and labels mixed."""
    keys = batch.keys
    if keys is not None and keys.content is not None:
        # Its content is that of both images.
        keys = replace(keys, content=mix_tensor(keys.content, keys.content[mixing.partner.cpu()]))
    return replace(
        batch,
        x=mixing.images(x),
        y=mixing.heavier(batch.y),
        targets=mixing.targets(batch.y, classes),
        views={name: mixing.images(view) for name, view in batch.views.items()},
        keys=keys,
    )
