"""CIFAR-10 and CIFAR-100, read by torchvision.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009). torchvision compares the files'
checksums with the published ones before it reads them.
"""

from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.images import Images
from smskd.errors import UserError


def cifar10(root: str | Path = "data", download: bool = False) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 in 10 classes.

    Mean and standard deviation are those of all pixels, as in most published code. Some code has a smaller standard
    deviation (0.2023, 0.1994, 0.2010), the mean over the images of each image's own.

    Args:
        root: folder that contains torchvision's ``cifar-10-batches-py``; default ``data``.
        download: fetch missing files; default false.

    Raises:
        UserError: the files are missing or damaged and ``download`` is off, or they cannot be fetched.
    """
    return _cifar("cifar10", "CIFAR10", root, download, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def cifar100(root: str | Path = "data", download: bool = False) -> Dataset:
    """CIFAR-100: 50,000 training and 10,000 test images of 32x32 in 100 classes.

    Mean and standard deviation are those of HobbitLong/RepDistiller, dataset/cifar100.py.

    Args:
        root: folder that contains torchvision's ``cifar-100-python``; default ``data``.
        download: fetch missing files; default false.

    Raises:
        UserError: the files are missing or damaged and ``download`` is off, or they cannot be fetched.
    """
    return _cifar("cifar100", "CIFAR100", root, download, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


def _cifar(
    name: str, reader: str, root: str | Path, download: bool, mean: tuple[float, ...], std: tuple[float, ...]
) -> Dataset:
    folder = expanded(root)
    train, test = (_read(name, reader, folder, part, download) for part in (True, False))
    return Dataset(name=name, train=train, test=test, mean=mean, std=std)


def _read(name: str, reader: str, root: Path, train: bool, download: bool) -> Images:
    try:
        source: Any = getattr(datasets, reader)(root=str(root), train=train, download=download)
    except (OSError, RuntimeError, EOFError) as error:  # URLError is an OSError
        reason = " ".join(str(error).split()) or type(error).__name__
        if download:
            raise UserError(f"{name} could not be fetched to {root}: {reason}; put the files there yourself") from error
        raise UserError(
            f"{name}: no complete files in {root}; set download: true, or root to the folder that contains them"
        ) from error
    pixels = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, torch.tensor(source.targets, dtype=torch.int64), tuple(source.classes))
