"""What is timed: two networks, a method and sizes, as a recipe over random images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smskd import models
from smskd.builder.networks import load_model
from smskd.config.models import ModelConfig
from smskd.data import Dataset, Images
from smskd.errors import UserError
from smskd.recipe import Recipe, parse

LEARNING_RATE = 0.001
"""Small enough that no training diverges on random images."""

_CALIBRATION = (2, 64)
"""Batches, and images in each, from which the statistics of a teacher's batch norms are taken."""


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        teacher, student: names of models.
        method: the method of every stage.
        stage: the stage that is timed, 1 or 2; the second has a reference and its anchor.
        batch_size: images of a step.
        steps: timed steps; on a GPU rounded up to whole groups of batches that the frozen networks process at once.
        epochs: of each stage of the run that the steps are taken from, on which ``compile: auto`` depends.
        data_size: number of random images.
        classes: number of classes.
        image_size: height and width, pixels.
        cache: of the teacher's outputs: ``off``, or ``memory``, which is filled before steps are timed.
        compile, precision, device: keys of a recipe.

    Raises:
        UserError: there are fewer images than a batch or the classes need, or the cache is of another kind.
    """

    teacher: str
    student: str
    method: str
    stage: int = 1
    batch_size: int = 64
    steps: int = 40
    epochs: int = 240
    data_size: int = 50_000
    classes: int = 100
    image_size: int = 32
    cache: str = "off"
    compile: str = "auto"
    precision: str = "fp32"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.data_size < max(self.batch_size, self.classes):
            raise UserError(
                f"--data-size: {self.data_size} images are too few for batches of {self.batch_size} "
                f"and {self.classes} classes"
            )
        if self.cache not in ("off", "memory"):
            raise UserError(f"--cache: '{self.cache}' must be off or memory")

    def recipe(self, weights: Path | None = None) -> Recipe:
        """The recipe whose last stage is timed.

        Args:
            weights: file of the teacher's weights; None: none.

        Raises:
            UserError: an option has a value that a recipe does not take.
        """
        stages = [{"methods": [self.method], "ends_after": number * self.epochs} for number in range(1, self.stage + 1)]
        cache = {"cache": {"mode": self.cache}} if self.cache != "off" else {}
        value: dict[str, Any] = {
            "name": "bench",
            "data": {"source": "random"},
            "teacher": {"name": self.teacher, **({"weights": str(weights)} if weights else {}), **cache},
            "student": {"name": self.student},
            "stages": stages,
            "training": {"epochs": self.stage * self.epochs, "batch_size": self.batch_size},
            "optimizer": {"learning_rate": LEARNING_RATE},
            "runtime": {"compile": self.compile, "precision": self.precision, "device": self.device},
        }
        return parse(value, source="bench")


def random_dataset(case: Case) -> Dataset:
    """Random images, uniform over the values of uint8, with equally many images of each class."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, case.image_size, case.image_size)
    names = tuple(map(str, range(case.classes)))

    def images(count: int) -> Images:
        pixels = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count) % case.classes
        return Images(pixels, labels[torch.randperm(count, generator=generator)], names)

    train, test = images(case.data_size), images(case.batch_size)
    return Dataset(name="random", train=train, test=test, mean=(0.5,) * 3, std=(0.29,) * 3)


def write_teacher(case: Case, dataset: Dataset, path: Path) -> None:
    """Writes random weights of a teacher; the statistics of its batch norms are those of the images.

    Raises:
        UserError: there is no such model.
    """
    torch.manual_seed(0)
    teacher = load_model(ModelConfig(case.teacher), dataset, "teacher")
    norms = [module for module in teacher.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
    batches, size = _CALIBRATION
    normalisation = dataset.normalisation()
    with torch.no_grad():
        assert isinstance(dataset.train, Images)
        for images in torch.split(dataset.train.pixels[: batches * size], size):
            if len(images) > 1:
                teacher.train()(normalisation.apply(images))
    models.save_weights(teacher.wrapped, path)
