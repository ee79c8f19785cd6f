"""The loader that the settings ask for."""

import torch
from torch import Tensor

from smskd.config.data import LoaderConfig
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.images import Images
from smskd.data.loaders.in_memory import MemoryLoader
from smskd.data.loaders.sequences import SequenceLoader
from smskd.data.loaders.streaming import StreamingLoader
from smskd.data.samples import Split
from smskd.data.texts import Texts
from smskd.errors import UserError


def make_loader(
    split: Split | Texts,
    batch_size: int,
    augmentation: Augmentation | None = None,
    *,
    config: LoaderConfig | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    shuffle: bool = True,
    checksums: bool = False,
    labels: Tensor | None = None,
) -> MemoryLoader | StreamingLoader | SequenceLoader:
    """A loader of the training, validation or test part of a data set.

    Of images in memory both kinds of loader give the same batches, bit for bit.

    Args:
        split: images in memory, samples to stream, or texts.
        batch_size: images in a batch.
        augmentation: of images of bytes; its memory format is that of the batches, of floats too.
        config: kind of loader and workers; default: ``auto`` and none.
        seed: of order, augmentation and transforms; default 0.
        device: of the batches; default: the CPU.
        shuffle: a new order every epoch; default true.
        checksums: see :class:`~smskd.data.loaders.streaming.StreamingLoader`; images in memory need none.
        labels: likewise.

    Raises:
        UserError: no batch can be made, or samples to stream are to be loaded from memory.
    """
    config = config or LoaderConfig()
    if isinstance(split, Texts):
        if config.kind == "streaming":
            raise UserError("data.loader.kind: texts are kept in memory; use 'memory' or 'auto'")
        return SequenceLoader(split, batch_size, seed=seed, device=device, shuffle=shuffle)
    in_memory = isinstance(split, Images)
    if config.kind == "memory" and not in_memory:
        raise UserError("data.loader.kind: 'memory' needs a source of images in memory; use 'streaming' or 'auto'")
    if isinstance(split, Images) and config.kind != "streaming":
        return MemoryLoader(split, batch_size, augmentation, seed=seed, device=device, shuffle=shuffle)
    return StreamingLoader(
        split,
        split.classes,
        batch_size,
        augmentation,
        seed=seed,
        device=device,
        shuffle=shuffle,
        workers=config.workers,
        checksums=checksums and not in_memory,
        labels=labels,
    )
