"""The smallest runs there can be: narrow networks, some dozens of 8x8 digits, a few epochs."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from smskd import data, models
from smskd.config.pace import Pace
from smskd.config.stage import Stage
from smskd.data import Dataset, MemoryLoader
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.terms import Anchor, Method, WeightedMethod
from smskd.methods.crd import CRD
from smskd.objective.resolve_terms import weighted
from smskd.recipe import OptimizerSpec, ScheduleSpec, StageSpec
from smskd.runs.folder import CHECKPOINT, METRICS, SUMMARY, RunFolder
from smskd.strategies.resolve import scheduled
from smskd.training.config import RunConfig
from smskd.training.epoch import EpochReport
from smskd.training.run import run

CLASSES = 10
SHAPE = (1, 8, 8)
TRAIN, TEST, BATCH = 60, 40, 20
EXAMPLE = torch.zeros(1, *SHAPE)
TIMES = {"seconds", "images_per_second", "cost", "latency_milliseconds", "cache_hits"}
SMALL_CRD = WeightedMethod("crd", CRD(feature_dim=8, negatives=12), 0.8)

Methods = Sequence[str | Method | WeightedMethod]


@cache
def digits(train: int = TRAIN, test: int = TEST) -> Dataset:
    return data.load("digits", train_limit=train, test_limit=test)


def student(seed: int = 1, name: str = "resnet8_w2") -> FeatureModel:
    torch.manual_seed(seed)
    return models.create(name, classes=CLASSES, channels=1, image_size=SHAPE[1:])


def teacher(seed: int = 2) -> FeatureModel:
    """A network whose batch norms have seen pictures, so that eval and train mode differ."""
    model = student(seed, "resnet8_w4").train()
    with torch.no_grad():
        for batch in loader().epoch(1):
            model(batch.x)
    return model


def loader(seed: int = 5, batch_size: int = BATCH, device: str = "cpu") -> MemoryLoader:
    return MemoryLoader(digits().train, batch_size, digits().augmentation(), seed=seed, device=device)


def evaluation_loader(device: str = "cpu") -> MemoryLoader:
    return MemoryLoader(digits().test, TEST, digits().normalisation(), shuffle=False, device=device)


def stages(
    pairs: Sequence[tuple[StageSpec, Methods]],
    *,
    epochs: int,
    anchor: Anchor | None = None,
    schedule: ScheduleSpec | None = None,
) -> tuple[Stage, ...]:
    """Stages from specs and methods, as the library's top level makes them."""
    methods = [weighted(own) for _, own in pairs]
    specs = [spec for spec, _ in pairs]
    return scheduled(specs, methods, [anchor] * len(specs), epochs, schedule or ScheduleSpec(decay_epochs=(2, 4)))


def setup(
    planned: tuple[Stage, ...],
    *,
    seed: int = 0,
    optimizer: OptimizerSpec | None = None,
    schedule: ScheduleSpec | None = None,
    checkpoint_every: int = 1,
    learner: FeatureModel | None = None,
    batch_size: int = BATCH,
    device: str = "cpu",
) -> RunConfig:
    """A fresh student and all that its run needs."""
    train = loader(seed, batch_size, device)
    return RunConfig(
        name="tiny",
        student_name="resnet8_w2",
        student=(learner or student()).to(device),
        teacher_name="resnet8_w4",
        teacher=teacher().to(device),
        stages=planned,
        pace=Pace(
            optimizer or OptimizerSpec(),
            schedule or ScheduleSpec(decay_epochs=(2, 4)),
            epochs=planned[-1].last,
            seed=seed,
        ),
        train=train,
        test=evaluation_loader(device),
        data=train.info,
        example=EXAMPLE.to(device),
        pictures={"name": "digits"},
        student_metadata={"model": "resnet8_w2"},
        checkpoint_every=checkpoint_every,
    )


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
    return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    return value


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
