"""A short run that several tests analyse; none of them writes into its folder."""

from pathlib import Path

import pytest

from smskd.models import save_weights
from smskd.recipe import parse
from smskd.session import begin
from tests.support import tiny


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FitNets, then KD, with a teacher and a validation split."""
    folder = tmp_path_factory.mktemp("analysed")
    save_weights(tiny.teacher(), folder / "teacher.safetensors")
    recipe = parse(
        {
            "name": "two",
            "data": {
                "source": "digits",
                "subset": {"train": 120, "test": 90},
                "validation": {"count": 30},
            },
            "teacher": {"name": "resnet8_w4", "weights": str(folder / "teacher.safetensors")},
            "student": "resnet8_w2",
            "training": {"epochs": 4, "batch_size": 20},
            "schedule": {"decay_at": [2, 3]},
            "methods": ["fitnet", "kd"],
            "runtime": {"device": "cpu"},
        }
    )
    begun = begin(recipe, folder / "run")
    list(begun.train(begun.build(), report=False))
    return folder / "run"
