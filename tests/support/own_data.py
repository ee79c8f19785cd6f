"""Networks and data sets of a user's own, for `smskd.distill`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import smskd
from smskd import ScheduleConfig
from smskd.data import Images
from tests.support import tiny

Sample = tuple[Any, int]


def network(width: int, seed: int, classes: int = tiny.CLASSES) -> nn.Sequential:
    """A small convolutional network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(2 * width, classes),
        )


def images(part: str) -> Images:
    """The digits in memory, ``train`` or ``test``."""
    found = getattr(tiny.digits(), part)
    assert isinstance(found, Images)
    return found


def floats(part: str) -> list[Sample]:
    """A plain list of (tensor, label)."""
    pairs = [images(part)[row] for row in range(len(images(part)))]
    return [(image.float() / 255, label) for image, label in pairs]


class TorchvisionLike:
    """A data set of PIL images, with its labels in ``targets``.

    Args:
        part: of the digits, ``train`` or ``test``.
    """

    def __init__(self, part: str) -> None:
        self.images = [Image.fromarray(np.asarray(image[0])) for image in images(part).pixels]
        self.targets = images(part).labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images[index], self.targets[index]


def distilled(*, made: nn.Module | None = None, **changes: Any) -> smskd.Result:
    """Distils a small network into a smaller one, by FitNets and then by KD, two epochs each.

    Args:
        made: the student; by default a fresh network.
        changes: of the arguments of :func:`smskd.distill`.
    """
    options: dict[str, Any] = {
        "student": made or network(2, seed=1),
        "teacher": network(4, seed=2),
        "stages": ["fitnet", "kd"] if "methods" not in changes else None,
        "train": floats("train"),
        "test": floats("test"),
        "epochs": 4,
        "batch_size": tiny.BATCH,
        "schedule": ScheduleConfig(decay_at=(2, 3)),
        "device": "cpu",
        **changes,
    }
    return smskd.distill(**options)


class Stop(Exception):
    """Raised to interrupt a run."""


def stopping_after(epochs: int) -> Callable[[Any], None]:
    """An ``on_epoch`` that interrupts a run after so many epochs."""

    def on_epoch(report: Any) -> None:
        if report.epoch == epochs:
            raise Stop

    return on_epoch
