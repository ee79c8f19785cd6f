"""The smallest sweep that shares stages: four runs of two stages, of which two begin alike."""

from pathlib import Path
from typing import Any

import yaml

from smskd.sweeps.sweep_file import Sweep, read_sweep
from tests.support.program import TINY, fine

SHORT = {
    "data": {"source": {"name": "digits", "test_samples": 64}, "subset": {"train": 64}},
    "student": "resnet8_w2",
    "training": {"epochs": 4, "batch_size": 32},
    "schedule": {"decay_at": [2]},
    "runtime": {"device": "cpu"},
}


def teacher(folder: Path) -> Path:
    """The folder of a trained teacher."""
    fine("train", "digits/teacher", *TINY, "student.name=resnet8_w2", "--out", folder, "--quiet")
    return folder


def written(folder: Path, taught: Path, **keys: Any) -> Path:
    """The file of a sweep, beside that of its recipe.

    Args:
        folder: of both.
        taught: folder of the teacher's run.
        keys: of the sweep, beside ``recipe``.
    """
    recipe = {**SHORT, "teacher": {"name": "resnet8_w2", "weights": str(taught)}}
    (folder / "short.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({"recipe": "short.yaml", **keys}), encoding="utf-8")
    return file


def four_runs(folder: Path, taught: Path) -> Sweep:
    """FitNets or attention transfer, then KD or SP."""
    sequences = [["fitnet", "kd"], ["fitnet", "sp"], ["at", "kd"], ["at", "sp"]]
    return read_sweep(written(folder, taught, values={"methods": sequences}))
