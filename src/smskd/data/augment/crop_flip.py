"""Random crop, horizontal flip and normalisation of a whole batch of uint8 images at once, on any device.

The augmentation that CIFAR networks are trained with since He et al., Deep Residual Learning for Image
Recognition (CVPR 2016): 4 pixels of zeros on every side, a random window of the original size, mirrored with
probability one half. The zeros are black pixels, padded before normalising.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from smskd.config.augmentation import AugmentationConfig
from smskd.data.counter_rng import mix_tensor
from smskd.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random crop, flip and normalisation, from uint8 images to the input of the network.

    The augmentation of a sample follows from (seed, epoch, index) alone, whatever the batches and their order. An
    image has only :attr:`variants` different outcomes, which are numbered.

    Args:
        mean: per channel, of values scaled to 0..1.
        std: per channel, likewise.
        padding: width of the black border out of which a random window is cropped; default 4, 0 for no crop.
        flip: mirror horizontally with probability one half; default true.
        memory_format: of the result; ``torch.channels_last`` is the faster one for convolutions on a GPU.
        further: changes beside crop and flip, such as mixup; its own ``padding`` and ``flip`` are not read. Default:
            none. Loaders make all of them, and a call those of single images.

    Raises:
        UserError: padding is negative, mean and std differ in length, or a std is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int = 4
    flip: bool = True
    memory_format: torch.memory_format = torch.contiguous_format
    further: AugmentationConfig | None = None

    def __post_init__(self) -> None:
        if self.further is not None and not self.further.settings():
            object.__setattr__(self, "further", None)
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        if self.padding < 0:
            raise UserError(f"padding is {self.padding}; it has to be 0 (no random crop) or more")
        if len(self.mean) != len(self.std):
            raise UserError(f"mean has {len(self.mean)} values and std {len(self.std)}; give both one per channel")
        if any(not value > 0 for value in self.std):
            raise UserError(f"std is {list(self.std)}; every value has to be above 0")

    @property
    def offsets(self) -> int:
        """Number of positions of the window in each direction, ``2 * padding + 1``."""
        return 2 * self.padding + 1

    @property
    def variants(self) -> int:
        """Number of different outcomes of crop and flip for one image: 9 * 9 * 2 = 162 by default."""
        return self.offsets**2 * (2 if self.flip else 1)

    def plain(self) -> "Augmentation":
        """The same augmentation without random changes: it normalises only."""
        return replace(self, padding=0, flip=False, further=None)

    def variant(self, seed: int, epoch: int, index: Tensor) -> Tensor:
        """The variant of crop and flip of each sample, uniformly distributed.

        Args:
            seed: of the run.
            epoch: of the run.
            index: int64, any shape, position of each sample in the data set.

        Returns:
            int64 from 0 to ``variants - 1``, of the shape of ``index`` and on its device.
        """
        return mix_tensor(seed, epoch, index) % self.variants

    def decode(self, variant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Crop and flip of variants, given by their numbers.

        Args:
            variant: int64, any shape, from 0 to ``variants - 1``.

        Returns:
            dy and dx, int64, the upper left corner of the window in the padded image, 0 to ``2 *
            padding`` (at ``padding`` the image is not shifted), and flip, bool, whether the window is
            mirrored.
        """
        mirrored = variant % 2 == 1 if self.flip else torch.zeros_like(variant, dtype=torch.bool)
        corner = variant // 2 if self.flip else variant
        return corner // self.offsets, corner % self.offsets, mirrored

    def draws(self, seed: int, epoch: int, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(dy, dx, flip) of each sample: :meth:`decode` of its :meth:`variant`."""
        return self.decode(self.variant(seed, epoch, index))

    def apply(self, images: Tensor, variant: Tensor | None = None) -> Tensor:
        """Crop, flip and normalise, without further changes.

        Args:
            images: uint8 [N, channels, height, width].
            variant: int64 [N] on the same device; default: the images are normalised only.

        Returns:
            float32 of the same shape, in :attr:`memory_format`.

        Raises:
            UserError: the number of channels is not that of mean and std.
        """
        self.check_channels(images.shape[1])
        if variant is not None:
            images = self.crop_and_flip(images, variant)
        scale, shift = affine(self.mean, self.std, images.device)
        x = images.contiguous(memory_format=self.memory_format).to(torch.float32)
        return x.mul_(scale).add_(shift)

    def crop_and_flip(self, images: Tensor, variant: Tensor) -> Tensor:
        """Crop and flip, without normalising.

        Args:
            images: uint8 [N, channels, height, width].
            variant: int64 [N] on the same device.

        Returns:
            uint8 of the same shape.
        """
        return self._window(images, *self.decode(variant)) if self.variants > 1 else images

    def __call__(self, images: Tensor, *, seed: int, epoch: int, index: Tensor) -> Tensor:
        """:meth:`apply` with the variants that belong to (seed, epoch, index), and the further changes of an image."""
        if self.further is None:
            return self.apply(images, self.variant(seed, epoch, index))
        from smskd.data.augment.pipeline import augmented

        return augmented(images, self, seed=seed, epoch=epoch, index=index.cpu())

    def check_channels(self, channels: int) -> None:
        """Raises UserError where mean and std have another number of channels."""
        if channels != len(self.mean):
            raise UserError(f"images have {channels} channel(s), but mean and std have {len(self.mean)} value(s)")

    def _window(self, images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor) -> Tensor:
        if not self.padding:
            return torch.where(flip[:, None, None, None], images.flip(3), images)
        samples, channels, height, width = images.shape
        padded = F.pad(images, [self.padding] * 4)
        device = images.device
        column = torch.arange(width, device=device)
        column = torch.where(flip[:, None], width - 1 - column, column) + dx[:, None]
        row = torch.arange(height, device=device) + dy[:, None]
        place = row[:, :, None] * padded.shape[3] + column[:, None, :]
        place = place.view(samples, 1, height * width).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, place).view(images.shape)


@lru_cache(maxsize=32)
def affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift [channels, 1, 1] that map a byte to (byte / 255 - mean) / std."""
    # Cached, because a copy to a GPU for every batch would synchronise with it; never as inference tensors.
    with torch.inference_mode(False):
        centre = torch.tensor(mean, dtype=torch.float64)[:, None, None]
        spread = torch.tensor(std, dtype=torch.float64)[:, None, None]
        scale, shift = 1 / (255 * spread), -centre / spread
        return scale.to(device, torch.float32), shift.to(device, torch.float32)
