"""Makes the runs of this version that are kept, so that later versions stay able to read them.

``python -m tests.support.kept_run`` writes ``tests/compat/run-<version>``; it refuses to replace what is there, since a
kept run is what an older version has written.
"""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from smskd import session
from smskd.models import save_weights
from smskd.recipe import parse
from smskd.training.reports import EpochReport
from tests.support import tiny

KEPT = Path(__file__).parents[1] / "compat"
TEACHER = "teacher.safetensors"
FINISHED, UNFINISHED = "finished", "unfinished"
NOWHERE = "/nowhere"
"""Stands for the folder in the recipes, which have absolute paths."""

_STOPPED_AFTER = 3
"""Epochs of four."""


def make(folder: Path) -> None:
    """Trains both runs, without pages, and the weights of their teacher."""
    folder.mkdir()
    save_weights(tiny.teacher(), folder / TEACHER)
    for name in (FINISHED, UNFINISHED):
        _train(folder, name)
        recipe = folder / name / "recipe.yaml"
        recipe.write_text(recipe.read_text(encoding="utf-8").replace(str(folder), NOWHERE), encoding="utf-8")


def copy_of(version: str, folder: Path) -> Path:
    """A copy of kept runs, with paths in their recipes that lead to it; ``folder`` does not exist yet."""
    shutil.copytree(KEPT / f"run-{version}", folder)
    for name in (FINISHED, UNFINISHED):
        recipe = folder / name / "recipe.yaml"
        recipe.write_text(recipe.read_text(encoding="utf-8").replace(NOWHERE, str(folder)), encoding="utf-8")
    return folder


def _train(folder: Path, name: str) -> None:
    recipe = parse(
        {
            "name": name,
            "data": {
                "source": "digits",
                "subset": {"train": tiny.TRAIN, "test": tiny.TEST},
                "validation": {"count": tiny.BATCH},
            },
            "teacher": {"name": "resnet8_w4", "weights": str(folder / TEACHER)},
            "student": "resnet8_w2",
            "training": {"epochs": 4, "batch_size": tiny.BATCH},
            "schedule": {"decay_at": [2, 3]},
            "runtime": {"device": "cpu"},
            "stages": [{"methods": [{"name": "ft", "init_epochs": 1}], "reference": "ema"}, {"methods": ["kd"]}],
        }
    )
    run = session.begin(recipe, folder / name)
    reports = run.train(run.build(), report=False)
    for report in reports:
        if name == UNFINISHED and isinstance(report, EpochReport) and report.epoch == _STOPPED_AFTER:
            break
    reports.close()


if __name__ == "__main__":
    place = KEPT / f"run-{version('smskd').rpartition('.')[0]}"
    if place.exists():
        sys.exit(f"{place} is there already; a kept run is not made anew")
    make(place)
