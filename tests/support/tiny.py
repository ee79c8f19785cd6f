"""The smallest runs there can be: narrow networks, some dozens of 8x8 digits, a few epochs."""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from smskd import data, models
from smskd.build import Provided, build
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, SubsetConfig, ValidationConfig
from smskd.config.given import given
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import StageConfig
from smskd.data import Dataset, MemoryLoader
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.terms import Anchor, Method, WeightedMethod
from smskd.methods.crd import CRD
from smskd.recipe import Recipe, TrainingConfig
from smskd.runs.checksums import verified
from smskd.runs.folder import CHECKPOINT, METRICS, SUMMARY, RunFolder
from smskd.strategies.resolve import resolve
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from smskd.training.reports import CacheReport, EpochReport, TeacherReport
from smskd.training.run import Report, run

CLASSES = 10
SHAPE = (1, 8, 8)
TRAIN, TEST, BATCH = 60, 40, 20
EXAMPLE = torch.zeros(1, *SHAPE)
TIMES = {"seconds", "images_per_second", "cost", "latency_milliseconds", "cache_hits"}
SMALL_CRD = WeightedMethod("crd", CRD(feature_dim=8, negatives=12), 0.8)
SCHEDULE = ScheduleConfig(decay_at=(2, 4))

Methods = Sequence[str | Method | WeightedMethod]


@cache
def digits(train: int = TRAIN, test: int = TEST, validation: int = 0) -> Dataset:
    held_out = ValidationConfig(count=validation) if validation else None
    return data.load("digits", subset=SubsetConfig(train=train, test=test), validation=held_out)


def student(seed: int = 1, name: str = "resnet8_w2") -> FeatureModel:
    torch.manual_seed(seed)
    return models.create(name, classes=CLASSES, channels=1, image_size=SHAPE[1:])


def teacher(seed: int = 2) -> FeatureModel:
    """A network whose batch norms have seen images, so that eval and train mode differ."""
    model = student(seed, "resnet8_w4").train()
    with torch.no_grad():
        for batch in loader().epoch(1):
            model(batch.x)
    return model


def loader(seed: int = 5, batch_size: int = BATCH, device: str = "cpu") -> MemoryLoader:
    return MemoryLoader(digits().train, batch_size, digits().augmentation(), seed=seed, device=device)


def evaluation_loader(device: str = "cpu") -> MemoryLoader:
    return MemoryLoader(digits().test, TEST, digits().normalisation(), shuffle=False, device=device)


def recipe(
    stages: Sequence[tuple[StageConfig, Methods]],
    *,
    epochs: int,
    anchor: Anchor | None = None,
    schedule: ScheduleConfig = SCHEDULE,
    optimizer: OptimizerConfig | None = None,
    batch_size: int = BATCH,
    strategy: Any = "sequential",
    validation: int = 0,
    teacher: TeacherConfig | None = None,
    **runtime: Any,
) -> Recipe:
    """A run of these stages, each with its methods.

    Args:
        validation: number of training images that are held out.
        runtime: fields of :class:`RuntimeConfig`.
    """
    held_out = ValidationConfig(count=validation) if validation else None
    return Recipe(
        name="tiny",
        data=DataConfig(ComponentConfig("digits", {}), validation=held_out),
        student=ModelConfig(given(EXAMPLE)),
        teacher=teacher or TeacherConfig(given(EXAMPLE)),
        training=TrainingConfig(epochs=epochs, batch_size=batch_size, test_batch_size=TEST),
        optimizer=optimizer or OptimizerConfig(),
        schedule=schedule,
        strategy=strategy,
        stages=tuple(replace(config, methods=tuple(methods)) for config, methods in stages),
        anchor=anchor,
        runtime=RuntimeConfig(**{"device": "cpu", **runtime}),
    )


def built(wanted: Recipe, *, learner: nn.Module | None = None, source: nn.Module | None = None) -> RunConfig:
    """Everything that the run needs, with a fresh student; global state is as before.

    Args:
        wanted: the run.
        learner: the student; by default :func:`student`.
        source: the teacher; by default :func:`teacher`.
    """
    held_out = 0 if wanted.data.validation is None else wanted.data.validation.count or 0
    with preserved_globals():
        provided = Provided(learner or student(), source or teacher(), digits(validation=held_out))
        return build(resolve(wanted), provided)


def epochs_of(made: RunConfig, folder: Path) -> Generator[Report, None, None]:
    """The reports of a run's epochs, those of pretraining included, without those on the teacher before them."""
    with closing(run(made, RunFolder(folder))) as reports:
        yield from (report for report in reports if not isinstance(report, TeacherReport | CacheReport))


def trained(made: RunConfig, folder: Path) -> list[EpochReport]:
    """Runs to the end; only reports of epochs, whatever else the run yields."""
    folder.mkdir(exist_ok=True)
    return [report for report in run(made, RunFolder(folder)) if isinstance(report, EpochReport)]


def bits(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of weights are alike bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def without_times(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_without_times(line) for line in lines]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [verified(json.loads(line)) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    return verified(json.loads((folder / SUMMARY).read_text(encoding="utf-8")))


def written(file: Path) -> dict[str, Any]:
    """What is in a file of weights, so that it can be compared; the order of its metadata is left to chance."""
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
        bits = {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}
        return {"metadata": opened.metadata(), "tensors": bits}


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for the times: weights bit by bit, metrics, summary, and which files there are."""
    return {
        "weights": {str(path.relative_to(folder)): written(path) for path in folder.rglob("student.safetensors")},
        "metrics": without_times(metrics(folder)),
        "summary": without_times([summary(folder)]),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != CHECKPOINT),
    }
