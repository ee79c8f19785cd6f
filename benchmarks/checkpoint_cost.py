"""Measures the share of a run's time that its checkpoints take, in a single run: a plain student on random images."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

import smskd
from smskd.data import Images
from smskd.runs.folder import CHECKPOINT, Checkpoint, RunFolder
from smskd.training.reports import EpochReport


class TimedFolder:
    """Times the checkpoints of all runs, including the waits for the disk."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.bytes = 0
        self._save = RunFolder.save_checkpoint

    def method(self) -> Callable[..., None]:
        """Takes the place of the folder's method."""

        def save(folder: RunFolder, checkpoint: Checkpoint, keep: int = 1) -> None:
            started = time.perf_counter()
            self._save(folder, checkpoint, keep)
            self.seconds.append(time.perf_counter() - started)
            self.bytes = (folder.path / CHECKPOINT).stat().st_size

        return save


def random_images(count: int, size: int, classes: int) -> Images:
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % classes
    return Images(pixels, labels, tuple(map(str, range(classes))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", default="resnet20", help="a model of the zoo")
    parser.add_argument("--images", type=int, default=50_000, help="training images; 50,000 is the size of CIFAR")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    timed = TimedFolder()
    epochs: list[float] = []
    with tempfile.TemporaryDirectory() as folder, patch.object(RunFolder, "save_checkpoint", timed.method()):
        smskd.distill(
            student=smskd.models.create(options.student, classes=100, image_size=(options.size, options.size)),
            teacher=None,
            stages=[],
            train=random_images(options.images, options.size, 100),
            test=random_images(max(100, options.images // 5), options.size, 100),
            epochs=options.epochs,
            device=options.device,
            out=Path(folder) / "run",
            on_epoch=lambda report: epochs.append(report.seconds) if isinstance(report, EpochReport) else None,
        )
    training, checkpoints = sum(epochs), sum(timed.seconds)
    print(
        f"{options.student}, {options.images} images of {options.size}x{options.size}, {options.epochs} epochs: "
        f"{training:.1f} s of training, {len(timed.seconds)} checkpoints of {timed.bytes / 1e6:.1f} MB in "
        f"{checkpoints:.3f} s: {checkpoints / (training + checkpoints):.2%} of the time"
    )


if __name__ == "__main__":
    main()
