"""Small trainings, one for each kind of state that a run has in files or in a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import smskd
from smskd import seeds, session
from smskd.recipe import read
from smskd.runs.file_names import SEEDS
from smskd.sweeps.workers import train_in_processes
from tests.support import tiny
from tests.support.own_data import TorchvisionLike, network

RECIPE = "recipe.yaml"
OUT = "run"
BATCH = 14
"""Divides neither the training images nor those that are left beside a validation split."""


@dataclass(frozen=True)
class Training:
    """A training that takes about a second, in a folder of its own.

    Attributes:
        recipe: replaces keys of the common recipe.
        cache: mode of the teacher's cache.
        seeds: of ``--seeds``.
        page: whether the page is made; its charts take longer than the training.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    cache: str = "off"
    seeds: str | None = None
    page: bool = False

    def prepare(self, here: Path, teacher: Path) -> None:
        """Makes the folder, with the recipe in it; ``teacher`` is the file of the teacher's weights."""
        here.mkdir(parents=True)
        recipe = {**_common(), **self.recipe}
        recipe["teacher"] = {"name": "resnet8_w4", "weights": str(teacher), "cache": {"mode": self.cache}}
        (here / RECIPE).write_text(yaml.safe_dump(recipe), encoding="utf-8")

    @property
    def words(self) -> tuple[str, ...]:
        """The command that begins it, within its folder."""
        return ("train", RECIPE, "--out", OUT, "-q", *(() if self.seeds is None else ("--seeds", self.seeds)))

    @property
    def folders(self) -> tuple[str, ...]:
        """Its runs, within its folder."""
        return (OUT,) if self.seeds is None else tuple(f"{OUT}/seed{seed}" for seed in self.seeds.split(","))


class Distillation(Training):
    """``distill`` with networks and data sets of the caller's own."""

    @property
    def words(self) -> tuple[str, ...]:
        return ("distill",)


class Sweep(Training):
    """Two runs at the same time, each in a worker process."""

    @property
    def words(self) -> tuple[str, ...]:
        return ("sweep",)

    @property
    def folders(self) -> tuple[str, ...]:
        return (f"{OUT}/seed0", f"{OUT}/seed1")


def sweep(out: Path, on_progress: Callable[[object], None]) -> None:
    """What the command ``sweep`` stands for: it begins the runs in ``out``, or goes on with them."""
    if (out / SEEDS).exists() or any(out.glob(f"*/{RECIPE}")):
        seeds.begin_missing(out)
        runs = session.reopen(out)
    else:
        runs = seeds.begin_seeds(read(RECIPE), [0, 1], out)
    train_in_processes([run.folder.path for run in runs], 2, on_progress)


def distill(out: str) -> None:
    """What the command ``distill`` stands for: it begins the run in ``out``, or goes on with it."""
    smskd.distill(
        student=network(2, seed=1),
        teacher=network(4, seed=2),
        train=TorchvisionLike("train"),
        test=TorchvisionLike("test"),
        stages=["fitnet", "kd"],
        epochs=4,
        batch_size=BATCH,
        schedule=smskd.ScheduleConfig(decay_at=(2, 3)),
        runtime=smskd.RuntimeConfig(device="cpu", compile="off"),
        out=out,
        resume=(Path(out) / RECIPE).is_file(),
    )


def _common() -> dict[str, Any]:
    return {
        "name": "hurt",
        "data": _data(),
        "student": "resnet8_w2",
        "training": {"epochs": 4, "batch_size": BATCH},
        "schedule": {"decay_at": [2, 3]},
        "runtime": _runtime(),
        "methods": ["fitnet", "kd"],
    }


def _data(**keys: Any) -> dict[str, Any]:
    return {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}, **keys}


def _runtime(**keys: Any) -> dict[str, Any]:
    return {"device": "cpu", "seed": 7, "compile": "off", **keys}


def streamed(workers: int, cache: str = "off") -> Training:
    """A training whose images are read by so many processes; 0: by its own."""
    return Training({"data": _data(loader={"kind": "streaming", "workers": workers}), "methods": ["kd"]}, cache=cache)


_VALIDATION = _data(validation={"fraction": 0.3})
_EARLY = {"schedule": {"decay_at": [1, 2]}}
_CRD = {"name": "crd", "negatives": 12, "feature_dim": 8}
_THREE_STAGES = [
    {"methods": ["fitnet"], "ends_after": 2, "reference": "best"},
    {"methods": [_CRD], "ends_after": 4, "carry": "ema", "reference": "ema", "ema_decay": 0.7},
    {"methods": ["kd"], "carry": "best"},
]

TRAININGS: dict[str, Training] = {
    "two stages": Training(),
    "a page": Training({"methods": ["kd"]}, page=True),
    "cache in memory": Training({"methods": ["kd"]}, cache="memory"),
    "cache on disk": Training({"methods": ["kd", "fitnet"]}, cache="disk"),
    "replay": Training({"methods": ["kd"]}, cache="replay"),
    "replay with loader workers": streamed(2, cache="replay"),
    "loader workers": streamed(2),
    "pretraining of FT": Training({"methods": [{"name": "ft", "init_epochs": 2}, "kd"]}),
    "pretraining of AB": Training({"methods": ["kd", {"name": "ab", "init_epochs": 2}]}),
    "pretraining of FSP": Training({"methods": [{"name": "fsp", "init_epochs": 2}], "student": "resnet8_w4"}),
    "bf16": Training({"runtime": _runtime(precision="bf16")}),
    "two seeds": Training({"methods": ["kd", "at"]}, seeds="0,1"),
    "three stages, best and average": Training(
        {
            "data": _VALIDATION,
            "training": {"epochs": 6, "batch_size": BATCH},
            "methods": None,
            "stages": _THREE_STAGES,
        }
    ),
    "L2-SP": Training({"anchor": {"name": "l2_sp", "weight": 5.0}}),
    "EWC": Training(
        {"anchor": {"name": "ewc", "samples": 10, "decay": 0.5}, "methods": ["fitnet", "kd", "sp"], **_EARLY}
    ),
    "toward the reference": Training({"anchor": {"name": "toward_reference", "method": "fitnet"}}),
    "SimKD": Training({"methods": ["kd", "simkd", "fitnet"], **_EARLY}),
    "AdamW, a checkpoint every other epoch": Training(
        {"optimizer": {"name": "adamw", "learning_rate": 0.004}, "runtime": _runtime(checkpoint_every=2)}
    ),
    "distill": Distillation(),
    "sweep": Sweep({"methods": ["kd"]}),
}
