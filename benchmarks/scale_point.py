"""Measures one point of a curve of ``benchmarks/scale.py``, in a process of its own, and prints it as JSON.

python benchmarks/scale_point.py images-in-memory 20000
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import side_by_side
import torch
from scale_curves import rounded
from torch import Tensor

from smskd.bench.case import Case, random_dataset, write_teacher
from smskd.bench.step import TimedLoop
from smskd.build import Provided, build
from smskd.config.data import ValidationConfig
from smskd.data import Dataset, StreamedSamples, load
from smskd.data.validation import split_samples
from smskd.interfaces.batch import Progress
from smskd.recipe import Recipe, parse
from smskd.session import begin
from smskd.strategies.resolve import resolve
from smskd.training.globals import preserved_globals
from smskd.training.host import device_of, memory_in_use, peak_memory, reset_peak_memory

NETWORK = "resnet8"
TURNS = 3
_POOL = 1024
_ON_GPU = torch.cuda.is_available()
_clock = time.perf_counter if _ON_GPU else time.process_time
"""On a CPU the time of this process, which other processes disturb less."""

_MB = 10**6

Measured = dict[str, float]


class RandomPictures:
    """A map-style data set of as many random pictures as are wanted, of which 1,024 differ."""

    def __init__(self, count: int, classes: int, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pool = torch.randint(256, (_POOL, 3, size, size), generator=generator, dtype=torch.uint8)
        self.targets: Tensor = torch.arange(count) % classes

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.pool[row % _POOL], int(self.targets[row])


class Memory:
    """Of this process or its GPU, from when it is made."""

    def __init__(self) -> None:
        self._device = device_of("auto")
        self._before = memory_in_use(self._device) or 0
        reset_peak_memory(self._device)

    def measures(self) -> Measured:
        """``peak_mb`` and its increase, ``increase_mb``."""
        peak = peak_memory(self._device) or 0
        return {"peak_mb": peak / _MB, "increase_mb": max(0, peak - self._before) / _MB}


def timed_steps(
    case: Case, method: Mapping[str, Any] | str, steps: int, *, streamed: bool = False, validation: bool = False
) -> Measured:
    """The speed of steps of a run, the time before the first one, and the memory.

    Args:
        case: data, classes, and images in a batch; networks and method are replaced.
        method: of the only stage, as in a recipe.
        steps: of each of three turns.
        streamed: whether images are streamed.
        validation: whether a tenth of the images is taken out, each class with its share.
    """
    with tempfile.TemporaryDirectory() as folder, preserved_globals():
        weights = Path(folder) / "teacher.safetensors"
        few = replace(case, data_size=max(256, case.classes, case.batch_size))
        write_teacher(few, random_dataset(few), weights)
        memory = Memory()
        dataset = _streamed(case) if streamed else random_dataset(case)
        begun = _clock()
        if validation:
            train, held_out = split_samples(dataset.train, ValidationConfig(fraction=0.1), dataset.classes)
            dataset = replace(dataset, train=train, validation=held_out)
        config = build(resolve(_recipe(case, method, weights)), Provided(dataset=dataset))
        loop = TimedLoop(config)
        loader = config.loaders[-1]
        _ = loader.fingerprint, loader.augmentation_space
        next(iter(loader.groups(1, Progress(), frozenset())))
        start = _clock() - begun
    loop.turn(steps)  # not counted: memory is allocated
    speed = median(_speed(loop, steps) for _ in range(TURNS))
    return {
        "images_per_second": speed,
        "step_milliseconds": 1000 * case.batch_size / speed,
        "start_seconds": start,
        **memory.measures(),
    }


def _speed(loop: TimedLoop, steps: int) -> float:
    """Images per second of a turn; on a CPU with its warm-up."""
    begun = _clock()
    speed = loop.turn(steps)
    if _ON_GPU:
        return speed
    return (loop.warm_up + steps) * loop.state.stage.batch_size / (_clock() - begun)


def _streamed(case: Case) -> Dataset:
    names = tuple(map(str, range(case.classes)))
    parts = [
        StreamedSamples(RandomPictures(count, case.classes, case.image_size), names)
        for count in (case.data_size, case.batch_size)
    ]
    return Dataset(name="random", train=parts[0], test=parts[1], mean=(0.5,) * 3, std=(0.29,) * 3)


def _recipe(case: Case, method: Mapping[str, Any] | str, weights: Path) -> Recipe:
    return parse(
        {
            "name": "scale",
            "data": {"source": "random"},
            "teacher": {"name": case.teacher, "weights": str(weights)},
            "student": case.student,
            "methods": [method],
            "training": {"epochs": 2, "batch_size": case.batch_size},
            "optimizer": {"learning_rate": 0.001},
            "schedule": {"decay_at": []},
            "runtime": {"compile": "off"},
        },
        source="scale",
    )


def _case(**sizes: int) -> Case:
    return Case(NETWORK, NETWORK, "kd", **sizes)  # type: ignore[arg-type]


def in_memory(size: int, quick: bool) -> Measured:
    """Images in memory."""
    return timed_steps(_case(data_size=size, classes=10 if quick else 100), "kd", 1 if quick else 4)


def streamed(size: int, quick: bool) -> Measured:
    """Streamed images."""
    return timed_steps(_case(data_size=size, classes=10 if quick else 100), "kd", 1 if quick else 4, streamed=True)


def crd_images(size: int, quick: bool) -> Measured:
    """Images with CRD."""
    method = {"name": "crd", "negatives": 16 if quick else 4096}
    return timed_steps(_case(data_size=size, classes=10, image_size=8), method, 1 if quick else 4)


def classes(size: int, quick: bool) -> Measured:
    """Classes."""
    case = _case(data_size=400 if quick else 40_000, classes=size)
    return timed_steps(case, "kd", 1 if quick else 4, validation=True)


def batch_size(size: int, quick: bool) -> Measured:
    """Images in a batch."""
    case = _case(data_size=400 if quick else 20_000, classes=10 if quick else 100, batch_size=size)
    return timed_steps(case, "kd", 1 if quick else 3)


def negatives(size: int, quick: bool) -> Measured:
    """Negatives of CRD."""
    case = _case(data_size=400 if quick else 150_000, classes=10 if quick else 100, image_size=8)
    return timed_steps(case, {"name": "crd", "negatives": size}, 1 if quick else 4)


def stages(size: int, quick: bool) -> Measured:
    """A whole run of so many stages, on the digits."""
    digits = load("digits")
    assert isinstance(digits, Dataset)
    epochs = 1 if quick else 6
    with tempfile.TemporaryDirectory() as folder, preserved_globals():
        weights = Path(folder) / "teacher.safetensors"
        write_teacher(_case(), digits, weights)
        recipe = parse(
            {
                "name": "stages",
                "data": {"source": "digits", **({"subset": {"train": 128, "test": 32}} if quick else {})},
                "teacher": {"name": NETWORK, "weights": str(weights)},
                "student": NETWORK,
                "stages": [
                    {"methods": [("fitnet", "kd")[number % 2]], "ends_after": (number + 1) * epochs}
                    for number in range(size)
                ],
                "training": {"epochs": size * epochs, "batch_size": 64},
                "optimizer": {"learning_rate": 0.001},
                "schedule": {"decay_at": []},
                "runtime": {"compile": "off"},
            },
            source="scale",
        )
        memory = Memory()
        begun = _clock()
        run = begin(recipe, Path(folder) / "run")
        for _ in run.train(run.build()):
            pass
        seconds = _clock() - begun
        files = sum(path.stat().st_size for path in (Path(folder) / "run").rglob("*") if path.is_file())
    return {"run_seconds": seconds, "folder_mb": files / _MB, **memory.measures()}


def runs(size: int, quick: bool) -> Measured:
    """Runs side by side, on the digits."""
    recipe = side_by_side.recipe_of("digits", NETWORK, 1 if quick else 5, batch_size=256)
    memory = Memory()
    with tempfile.TemporaryDirectory() as folder:
        begun = _clock()
        side_by_side.seconds(recipe, size, Path(folder))
        seconds = _clock() - begun
    return {"run_seconds": seconds, **memory.measures()}


POINTS: Mapping[str, Callable[[int, bool], Measured]] = {
    "images-in-memory": in_memory,
    "images-streamed": streamed,
    "images-crd": crd_images,
    "classes": classes,
    "stages": stages,
    "batch-size": batch_size,
    "negatives": negatives,
    "runs": runs,
}
"""By the names of the curves."""


def point(curve: str, size: int, quick: bool = False) -> Measured:
    """A point of a curve: ``size`` and what is measured."""
    return {"size": size} | {name: rounded(value) for name, value in POINTS[curve](size, quick).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curve", choices=list(POINTS))
    parser.add_argument("size", type=int)
    parser.add_argument("--quick", action="store_true", help="as small as a test needs")
    arguments = parser.parse_args()
    print(json.dumps(point(arguments.curve, arguments.size, arguments.quick)))


if __name__ == "__main__":
    main()
