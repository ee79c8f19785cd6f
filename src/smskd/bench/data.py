"""`smskd bench data`: the reading of pictures from files, in turn with the usual loop of torchvision."""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import DataLoader

from smskd.bench.pictures import CLASSES, write_pictures
from smskd.builder.augmentation import augmentation_of
from smskd.config.augmentation import AugmentationConfig, RandomResizedCropConfig
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, LoaderConfig
from smskd.data import Dataset
from smskd.data.loaders.make import make_loader
from smskd.data.loaders.streaming import StreamingLoader
from smskd.data.loading import load
from smskd.errors import UserError
from smskd.training.globals import preserved_globals
from smskd.training.host import environment

FORMAT = 1
_SEED = 0


@dataclass(frozen=True)
class DataCase:
    """What is read.

    Attributes:
        root: folder with ``train/CLASS`` and ``val/CLASS``; None: pictures are made.
        pictures: how many are made.
        height, width: of those that are made.
        image_size: height and width of the random resized crops.
        batch_size: images in a batch.
        workers: processes, of each loop.
        turns: epochs of each loop, in turn.
    """

    root: str | None = None
    pictures: int = 512
    height: int = 375
    width: int = 500
    image_size: int = 224
    batch_size: int = 64
    workers: int = 2
    turns: int = 3


def bench_data(case: DataCase) -> dict[str, Any]:
    """Times the reading of random resized crops, mirrored and normalised, on the CPU.

    Returns:
        The case; ``images_per_second`` and ``baseline``, that of torchvision's ``ImageFolder`` with Pillow and
        ``DataLoader``, medians over the turns; ``ratio``, likewise; and ``environment``.

    Raises:
        UserError: the pictures cannot be read.
    """
    if case.pictures < max(case.batch_size, CLASSES):
        raise UserError(f"pictures is {case.pictures}; a batch has {case.batch_size}")
    with tempfile.TemporaryDirectory() as folder, preserved_globals():
        if case.root is None:
            write_pictures(Path(folder), case.pictures, case.height, case.width)
        root = case.root or folder
        dataset = load(_config(case, root))
        assert isinstance(dataset, Dataset)
        own = _own_loader(case, root, dataset)
        usual = _usual_loader(case, root, dataset)
        _epoch(own.epoch(0))  # not counted: the workers start
        _epoch(usual)
        pairs = [(_epoch(own.epoch(turn)), _epoch(usual)) for turn in range(1, case.turns + 1)]
    return {
        "format": FORMAT,
        **asdict(case),
        "images_per_second": round(median(one for one, _ in pairs), 1),
        "baseline": round(median(other for _, other in pairs), 1),
        "ratio": round(median(one / other for one, other in pairs), 3),
        "environment": environment(torch.device("cpu"), tf32=False),
    }


def _config(case: DataCase, root: str) -> DataConfig:
    size = [case.image_size, case.image_size]
    return DataConfig(
        ComponentConfig("image_folder", {"root": root, "image_size": size}),
        augmentation=AugmentationConfig(random_resized_crop=RandomResizedCropConfig(), flip=True),
        loader=LoaderConfig(workers=case.workers),
    )


def _own_loader(case: DataCase, root: str, dataset: Dataset) -> StreamingLoader:
    config = _config(case, root)
    augmentation = augmentation_of(config, dataset, None, torch.contiguous_format)
    loader = make_loader(dataset.train, case.batch_size, augmentation, config=config.loader, seed=_SEED)
    assert isinstance(loader, StreamingLoader)
    return loader


def _usual_loader(case: DataCase, root: str, dataset: Dataset) -> DataLoader[Any]:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(case.image_size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(dataset.mean, dataset.std),
        ]
    )
    return DataLoader(
        ImageFolder(str(Path(root) / "train"), transform),
        batch_size=case.batch_size,
        shuffle=True,
        num_workers=case.workers,
        persistent_workers=case.workers > 0,
        generator=torch.Generator().manual_seed(_SEED),
    )


def _epoch(batches: Iterable[Any]) -> float:
    """Images per second of an epoch."""
    started, images = time.perf_counter(), 0
    for batch in batches:
        images += len(batch[1] if isinstance(batch, list) else batch.y)
    return images / (time.perf_counter() - started)
