"""The baseline loop on copies of the networks of our loop, trained and timed in turns."""

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from smskd.bench import baseline_data
from smskd.bench.baseline_data import ImageBatch, ImageDataset, training_transform
from smskd.bench.baseline_loop import METHODS, BaselineLoop
from smskd.bench.case import Case
from smskd.bench.measures import WARM_UP, increase, measures, speed
from smskd.data import Dataset, Images
from smskd.interfaces.objective import Objective
from smskd.objective.weighted_sum import WeightedSum
from smskd.training.config import RunConfig
from smskd.training.host import memory_in_use, peak_memory, reset_peak_memory

_WARM_UPS = {"cuda": 20}
"""Steps of the warm-up by type of device, where they differ: a GPU's steps are so short that the workers need several
to get ahead."""


def baseline_dataset(case: Case, dataset: Dataset) -> ImageDataset | None:
    """The training images as the baseline loop reads them; None if it does not have the method."""
    if case.method not in METHODS:
        return None
    assert isinstance(dataset.train, Images)
    return ImageDataset(
        dataset.train.pixels.permute(0, 2, 3, 1).contiguous().numpy(),
        dataset.train.labels.numpy(),
        training_transform(case.image_size, dataset.mean, dataset.std, dataset.padding, dataset.flip),
        baseline_data.NEGATIVES if case.method == "crd" else 0,
    )


def baseline_options(config: RunConfig, objective: Objective) -> dict[str, Any]:
    """The arguments of the baseline loop except its data: those of our last stage, with copies of its networks."""
    assert isinstance(objective, WeightedSum)
    parts, stage, device = objective.parts, config.recipe.stages[-1], config.device
    assert parts.teacher is not None
    return {
        "student": _contiguous(parts.student, device),
        "teacher": _contiguous(parts.teacher.model, device),
        "method": stage.names[0],
        "batch_size": stage.batch_size,
        "reference": _contiguous(parts.reference.model, device) if parts.reference else None,
        "device": device,
        "learning_rate": stage.optimizer.learning_rate,
    }


class BaselineTurns:
    """The baseline loop, trained and timed in turns.

    Args:
        options: made by :func:`baseline_options`.
        data: made by :func:`baseline_dataset`.
    """

    def __init__(self, options: dict[str, Any], data: ImageDataset) -> None:
        self._device = torch.device(options["device"])
        self._before = memory_in_use(self._device)
        reset_peak_memory(self._device)
        self.loop = BaselineLoop(data=data, **options)
        self.memory: int | None = None

    def begin(self) -> None:
        """A first turn, which is not counted; the peak memory is taken from it."""
        self.turn(1)
        self.memory = increase(peak_memory(self._device), self._before)
        self.loop.clock.reset()

    def turn(self, steps: int) -> float:
        """Trains and times some steps after a warm-up; returns images per second."""
        warm_up = _WARM_UPS.get(self._device.type, WARM_UP)
        timed = range(warm_up, warm_up + steps)
        self.loop.train(self.loop.clock.steps(islice(self._endless(), timed.stop), timed))
        return speed(self.loop.clock, steps)

    def measures(self) -> dict[str, Any]:
        """The measures over all turns."""
        return measures(self.loop.clock, self.memory)

    def _endless(self) -> Iterator[ImageBatch]:
        while True:
            yield from self.loop.batches()


def _contiguous(model: Any, device: torch.device) -> Any:
    """A copy on the device, in the contiguous memory format, the default of a network."""
    return copy.deepcopy(model).to(device).to(memory_format=torch.contiguous_format)
