"""Runs of students that are exported, and images of the digits as files."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
import yaml
from PIL import Image
from torch import Tensor

from smskd import data
from smskd.data import Dataset
from smskd.recipe import Recipe, read
from smskd.session import begin
from smskd.training.globals import preserved_globals

SHORT = ("training.epochs=1", "data.subset.train=64", "data.subset.test=40", "runtime.device=cpu")
SIDE = 16


@cache
def digits() -> Dataset:
    found = data.load("digits", test_samples=797)  # as the recipes of the digits have it
    assert isinstance(found, Dataset)
    return found


def trained(folder: Path, *overrides: str, recipe: str = "digits/plain.yaml") -> Path:
    """The folder of a short run on the digits."""
    return finished(read(recipe, [*SHORT, *overrides]), folder / "run")


def finished(recipe: Recipe, folder: Path) -> Path:
    """The folder of a finished run without a page."""
    run = begin(recipe, folder)
    with preserved_globals():
        for _ in run.train(run.build(), report=False):
            pass
    return folder


@cache
def plain_run() -> Path:
    """A run of the zoo's smallest network on the digits."""
    return trained(Path(mkdtemp(prefix="smskd-plain-")), "student.name=resnet8_w2")


def write_digits(folder: Path, count: int, part: str = "test") -> list[Path]:
    """Images of the digits as gray PNG files of 8x8 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    split: Any = getattr(digits(), part)
    paths = []
    for row in range(count):
        path = folder / f"{row:03}.png"
        Image.fromarray(split.pixels[row, 0].numpy()).save(path)
        paths.append(path)
    return paths


def write_colours(root: Path, train: int = 8, test: int = 6, side: int = SIDE) -> Path:
    """A folder of images in two classes, ``blue`` and ``red``, some of them larger than the others."""
    generator = torch.Generator().manual_seed(3)
    for part, count in (("train", train), ("test", test)):
        for channel, name in ((2, "blue"), (0, "red")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for row in range(count):
                size = side + 7 * (row % 2)
                pixels = torch.randint(0, 120, (size, size, 3), generator=generator, dtype=torch.uint8)
                pixels[..., channel] += 100
                Image.fromarray(pixels.numpy()).save(folder / f"{row}.png")
    return root


def colours_recipe(folder: Path, student: dict[str, Any], **changes: Any) -> Path:
    """A recipe of plain training on the colours."""
    root = folder / "colours"
    if not root.exists():
        write_colours(root)
    content = {
        "name": "colours",
        "data": {"source": {"name": "image_folder", "root": str(root), "image_size": [SIDE, SIDE]}},
        "student": student,
        "training": {"epochs": 1, "batch_size": 8},
        "stages": [{"methods": []}],
        "runtime": {"device": "cpu", "compile": "off"},
        **changes,
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def colours_run(folder: Path, student: dict[str, Any]) -> Path:
    """A short run on the colours."""
    return finished(read(colours_recipe(folder, student)), folder / "run")


@cache
def timm_run() -> Path:
    """A run of a small convolutional network of timm on the colours."""
    return colours_run(Path(mkdtemp(prefix="smskd-timm-")), {"name": "timm/test_resnet"})


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
