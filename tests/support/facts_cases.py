"""Weights with facts beside them, images in two classes, and a module that must never be imported."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import smskd
from smskd.data import Images
from smskd.interfaces.features import FeatureModel
from smskd.models import Facts, create, facts, save_weights, set_facts
from smskd.objective import build_objective
from smskd.objective.student_head import StudentWithHead
from tests.support import tiny

MEAN, STD = (0.3,), (0.4,)
NAMES = tuple("abcdefghij")
KNOWN = Facts(model="resnet8_w2", classes=10, class_names=NAMES, image_shape=(1, 8, 8), mean=MEAN, std=STD)


def known_network(seed: int = 1, known: Facts = KNOWN) -> FeatureModel:
    """A network of the zoo, the digits' size, with facts."""
    model = tiny.student(seed)
    set_facts(model, known)
    return model


def written(path: Path, model: nn.Module | None = None, **changes: str) -> Path:
    """A file of weights with the facts of their network.

    Args:
        path: of the file.
        model: by default :func:`known_network`.
        changes: of the metadata, texts by key.
    """
    model = model or known_network()
    known = facts(model)
    assert known is not None
    save_weights(model, path, {**known.as_metadata(), **changes})
    return path


def halves(count: int, names: tuple[str, str] = ("left", "right"), divisor: int = 1) -> Images:
    """Images that are bright on the left or on the right.

    Args:
        count: of images.
        names: of the two classes, in the order of their labels.
        divisor: of their brightness.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    sides = torch.arange(count) % 2
    bright = torch.randint(150, 250, (count,), generator=generator) // divisor
    for row, side in enumerate(sides.tolist()):
        pixels[row, 0, :, 4 * side : 4 * side + 4] = bright[row]
    labels = torch.tensor([names.index(("left", "right")[side]) for side in sides.tolist()])
    return Images(pixels, labels, names)


def simkd_student() -> StudentWithHead:
    """A student of the zoo with the head of SimKD."""
    made = build_objective(tiny.student(), tiny.teacher(), methods=["simkd"], example=tiny.EXAMPLE.repeat(2, 1, 1, 1))
    assert isinstance(made.predictor, StudentWithHead)
    return made.predictor


class Evil:
    """A module in a folder that leaves a file behind when it is imported.

    Attributes:
        name: of a model, a method or a data source in it.
    """

    name = "evil_module:make"

    def __init__(self, folder: Path) -> None:
        self._trace = folder / "imported"
        trace = repr(str(self._trace))
        sys.modules.pop("evil_module", None)  # of an earlier test
        (folder / "evil_module.py").write_text(f"open({trace}, 'w').close()\nmake = None\n")

    @property
    def ran(self) -> bool:
        """Whether it has been imported."""
        return self._trace.exists()


def trained_on(images: Images, **changes: Any) -> smskd.Result:
    """A network of the zoo that has learned to tell the halves apart.

    Args:
        images: to train and to test on.
        changes: of the arguments of :func:`smskd.distill`.
    """
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "student": create("resnet8_w4", classes=2, channels=1, image_size=(8, 8)),
        "teacher": None,
        "stages": [[]],
        "train": images,
        "test": images,
        "epochs": 6,
        "batch_size": 16,
        "device": "cpu",
        **changes,
    }
    return smskd.distill(**options)


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a file of weights, each value as JSON has it where it is JSON."""
    found: dict[str, Any] = {}
    for key, text in smskd.models.read_metadata(path).items():
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found
