"""CIFAR-10 and CIFAR-100, read by torchvision.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images (2009). torchvision compares the files'
checksums with the published ones before it reads them.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torchvision import datasets

from smskd.data.dataset import Dataset, Images
from smskd.errors import UserError

Name = Literal["cifar10", "cifar100"]


class _Facts(NamedTuple):
    reader: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_FACTS: dict[Name, _Facts] = {
    # The pixels' own mean and standard deviation, as most published code has them. Some has a smaller
    # std for CIFAR-10 (0.2023, 0.1994, 0.2010), the mean of the pictures' single standard deviations.
    "cifar10": _Facts("CIFAR10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    # HobbitLong/RepDistiller, dataset/cifar100.py
    "cifar100": _Facts("CIFAR100", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


def load(name: Name, root: str | Path = "data", download: bool = False) -> Dataset:
    """CIFAR with its published mean and standard deviation.

    Args:
        name: ``cifar10`` or ``cifar100``.
        root: the folder in which torchvision's ``cifar-10-batches-py`` or ``cifar-100-python`` lies.
        download: fetch what is missing.

    Raises:
        UserError: the files are missing or damaged and ``download`` is off, or they cannot be fetched.
    """
    facts = _FACTS[name]
    train, test = (_read(name, facts, Path(root), part, download) for part in (True, False))
    return Dataset(name=name, train=train, test=test, mean=facts.mean, std=facts.std)


def _read(name: Name, facts: _Facts, root: Path, train: bool, download: bool) -> Images:
    try:
        source: Any = getattr(datasets, facts.reader)(root=str(root), train=train, download=download)
    except (OSError, RuntimeError, EOFError) as error:  # URLError is an OSError
        reason = " ".join(str(error).split()) or type(error).__name__
        if download:
            raise UserError(f"{name} could not be fetched to {root}: {reason}; put the files there yourself") from error
        raise UserError(
            f"{name}: no complete files in {root}; set download: true, or root to where they lie"
        ) from error
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Images(images, torch.tensor(source.targets, dtype=torch.int64), tuple(source.classes))
