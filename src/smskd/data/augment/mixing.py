"""Mixup and CutMix: the images and labels of a batch are mixed in pairs.

mixup: Zhang et al. 2017, arXiv 1710.09412. CutMix: Yun et al. 2019, arXiv 1905.04899. As ``MixUp`` and ``CutMix`` of
torchvision, with one share for each batch, and the image before an image in the batch as its partner; where images are
repeated, the partner is as many places before it, so that it is another image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from smskd.config.augmentation import AugmentationConfig
from smskd.data.augment.boxes import Boxes, covered
from smskd.data.counter_rng import mix
from smskd.data.transfer import to_device, with_format_of

_MIXING = 0x6D6978696E67
"""Sets the draws of mixing apart from other hashes of (seed, epoch, batch)."""


@dataclass(frozen=True)
class Mixing:
    """How the samples of a batch, or of several batches one after the other, are mixed.

    Attributes:
        partner: [N] int64 place of the sample that each sample is mixed with.
        share: [N] float32 of the sample itself in its label; the rest is the partner's.
        pixel_share: [N] float32 of the sample itself in the pixels outside of the box; it is 0 within the box.
        boxes: of CutMix, on the same device; empty ones in batches that mixup mixes.
    """

    partner: Tensor
    share: Tensor
    pixel_share: Tensor
    boxes: Boxes

    def images(self, x: Tensor) -> Tensor:
        """The mixed images, float32 [N, channels, height, width], in the memory format of ``x``."""
        own = self.pixel_share.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        own = own.masked_fill(covered(self.boxes, (x.shape[2], x.shape[3])), 0.0)
        return with_format_of(x * own + x[self.partner] * (1 - own), x)

    def targets(self, y: Tensor, classes: int) -> Tensor:
        """The mixed labels, float32 [N, classes], of labels [N]; each row sums to 1."""
        share = self.share[:, None]
        own = torch.zeros(len(y), classes, device=y.device).scatter_(1, y[:, None], share)
        return own.scatter_add_(1, y[self.partner][:, None], 1 - share)

    def heavier(self, y: Tensor) -> Tensor:
        """Of each sample the label with the larger share, [N]; its own where both are equal."""
        return torch.where(self.share >= 0.5, y, y[self.partner])


def drawn_mixing(
    config: AugmentationConfig,
    sizes: Sequence[int],
    size: tuple[int, int],
    *,
    seed: int,
    epoch: int,
    first: int,
    device: torch.device,
) -> Mixing:
    """The mixing of consecutive batches.

    Args:
        config: alpha of mixup, of CutMix, or of both.
        sizes: number of samples in each batch.
        size: (height, width) of the images.
        seed: of the run.
        epoch: of the run.
        first: number of the first of the batches in the epoch.
        device: of the result.
    """
    places, numbers, begin = [], [], 0
    for batch, samples in enumerate(sizes, first):
        places.append((torch.arange(samples) - config.repeats) % samples + begin)
        drawn = torch.tensor(_draw(config, size, mix(_MIXING, seed, epoch, batch)), dtype=torch.float64)
        numbers.append(drawn.expand(samples, -1))
        begin += samples
    values = to_device(torch.cat(numbers).T.contiguous(), device)
    share, pixel_share = values[0].float(), values[1].float()
    return Mixing(to_device(torch.cat(places), device), share, pixel_share, Boxes(*values[2:].long()))


def _draw(config: AugmentationConfig, size: tuple[int, int], key: int) -> tuple[float, ...]:
    """For a batch: share of the label, share of the pixels outside of the box, and the box."""
    # Philox is itself a counter-based generator; the key is all of its state.
    random = np.random.Generator(np.random.Philox(key=key))
    first = random.random() < 0.5
    cuts = config.cutmix is not None and (config.mixup is None or first)
    alpha = config.cutmix if cuts else config.mixup
    assert alpha is not None
    share = float(random.beta(alpha, alpha))
    if not cuts:
        return share, share, 0, 0, 0, 0
    height, width = size
    row, column = int(random.integers(height)), int(random.integers(width))
    half = 0.5 * math.sqrt(1 - share)
    rows, columns = int(half * height), int(half * width)
    top, bottom = max(0, row - rows), min(height, row + rows)
    left, right = max(0, column - columns), min(width, column + columns)
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return kept, 1.0, top, left, bottom - top, right - left
