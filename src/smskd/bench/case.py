"""What is timed: two networks, a method and a size, as a recipe over random pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smskd import models
from smskd.build import load_model
from smskd.data import Dataset, Images
from smskd.errors import UserError
from smskd.recipe import ModelSpec, Recipe, parse

LEARNING_RATE = 0.001
"""So small that nothing diverges on pictures of noise."""

_CALIBRATION = (2, 64)
"""Batches, and pictures in each, after which a teacher's batch norms know what comes in."""


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        teacher, student: models.
        method: of both stages.
        stage: 2: with the reference and the anchor of a second stage.
        steps: that are timed; on a GPU as many more as make whole groups, for which the frozen networks look ahead.
        epochs: of each stage of the run that they are taken from, which ``compile: auto`` goes by.
        data_size: how many pictures there are. classes: and of how many classes.
        image_size: height and width of the pictures.
        cache: of the teacher's outputs: ``off``, or ``memory``, which is filled beforehand.
        compile, precision, device: as in a recipe.
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
                f"--data-size: {self.data_size} pictures are too few for batches of {self.batch_size} "
                f"and {self.classes} classes"
            )
        if self.cache not in ("off", "memory"):
            raise UserError(f"--cache: '{self.cache}' is neither off nor memory")

    def recipe(self, weights: Path | None = None) -> Recipe:
        """The recipe whose last stage is timed.

        Args:
            weights: the teacher's.

        Raises:
            UserError: an option is none that a recipe takes.
        """
        stages = [{"methods": [self.method], "until": number * self.epochs} for number in range(1, self.stage + 1)]
        cache = {"cache": self.cache} if self.cache != "off" else {}
        value: dict[str, Any] = {
            "name": "bench",
            "data": {"name": "random"},
            "teacher": {"model": self.teacher, **({"weights": str(weights)} if weights else {}), **cache},
            "student": {"model": self.student},
            "stages": stages,
            "epochs": self.stage * self.epochs,
            "batch_size": self.batch_size,
            "optimizer": {"learning_rate": LEARNING_RATE},
            "compile": self.compile,
            "precision": self.precision,
            "device": self.device,
        }
        return parse(value, source="bench")


def random_pictures(case: Case) -> Dataset:
    """Noise, as many pictures of each class as of any other."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, case.image_size, case.image_size)
    names = tuple(map(str, range(case.classes)))

    def pictures(count: int) -> Images:
        images = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count) % case.classes
        return Images(images, labels[torch.randperm(count, generator=generator)], names)

    train, test = pictures(case.data_size), pictures(case.batch_size)
    return Dataset(name="random", train=train, test=test, mean=(0.5,) * 3, std=(0.29,) * 3)


def write_teacher(case: Case, pictures: Dataset, path: Path) -> None:
    """Weights of a teacher: random, but for batch norms whose statistics are right.

    Raises:
        UserError: there is no such model.
    """
    torch.manual_seed(0)
    teacher = load_model(ModelSpec(model=case.teacher), pictures, "teacher")
    norms = [module for module in teacher.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
    batches, size = _CALIBRATION
    plain = pictures.normalisation()
    with torch.no_grad():
        for images in torch.split(pictures.train.images[: batches * size], size):
            if len(images) > 1:
                teacher.train()(plain.apply(images))
    models.save_weights(teacher.wrapped, path)
