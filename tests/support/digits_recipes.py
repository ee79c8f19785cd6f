"""A small recipe of the digits, as a mapping that tests change."""

from pathlib import Path
from typing import Any

from smskd.recipe import Recipe, parse
from tests.support import tiny


def digits_recipe(weights: Path, **keys: Any) -> Recipe:
    """FitNets for two epochs, then KD for two, on the CPU.

    Args:
        weights: of the teacher, :func:`tests.support.tiny.teacher`.
        **keys: replace those of the recipe.
    """
    return parse(
        {
            "name": "tiny",
            "data": {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}},
            "teacher": {"name": "resnet8_w4", "weights": str(weights)},
            "student": "resnet8_w2",
            "training": {"epochs": 4, "batch_size": tiny.BATCH},
            "schedule": {"decay_at": [2, 3]},
            "runtime": {"device": "cpu"},
            "methods": ["fitnet", "kd"],
            **keys,
        }
    )
