"""Choices of how a run is computed: which networks are compiled, and the number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from smskd.config.runtime import ComputeConfig
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs, device_of, form_of
from smskd.models import macs
from smskd.models.compiled import CompiledStudent
from smskd.models.frozen import Frozen
from smskd.training.config import RunConfig

WORTHWHILE = 10**14
"""Multiply-accumulates of a frozen network in a stage from which on ``compile: auto`` compiles it.

Two cores of 2023 take a quarter of an hour for as many. A compiled resnet56 takes 7 % less, and 15 seconds to compile.
"""

TRAINING_WORTHWHILE = 3 * 10**14
"""Likewise of the student, of which a step is three forward passes.

An hour of training, of which half a minute of compiling is 1 %. The gain depends on the processor: a step of resnet20
took 11 % less time on one, and as long on another.
"""

TRAINING_WORTHWHILE_ON_A_GPU = 5 * 10**15
"""Likewise of the student on a GPU, in any precision.

Ten million images of resnet8x4. On an H200 in bfloat16 it trained on 59,000 images a second, compiled on 71,500, and
took 18 s to compile: compiling pays from about 6 million images on. In other cases it was not measured.
"""

SMALL_STEP = 2_000_000_000
"""Multiply-accumulates of a step below which several threads mostly wait for each other."""


class CompilePolicy:
    """Decides which networks of a stage are compiled: the student, and on a CPU in float32 teacher and reference.

    The decision follows from the stage alone, so that a run that is resumed makes it again.

    Args:
        compute: of the run.
        example: an image [1, channels, height, width] on the device of training, or samples of several tensors by name,
            for which nothing is compiled: their lengths differ from batch to batch.
        images: that a network sees in the stage.
    """

    def __init__(self, compute: ComputeConfig, example: Inputs, images: int) -> None:
        self._form = form_of(example)
        self._images = images
        self._mode = compute.compile
        self._takes_images = isinstance(example, Tensor)
        self._on_gpu = device_of(example).type == "cuda"
        on_cpu = compute.precision == "fp32" and device_of(example).type == "cpu"
        self._possible = compute.compile != "off" and on_cpu and self._takes_images

    def student(self, model: FeatureModel) -> CompiledStudent | None:
        """The compiled student; None where it is not compiled."""
        if self._mode == "off" or not self._takes_images:
            return None
        if self._mode == "on" or self._trains_long(model):
            return CompiledStudent(model)
        return None

    def _trains_long(self, model: FeatureModel) -> bool:
        if not (self._possible or self._on_gpu):
            return False
        least = TRAINING_WORTHWHILE_ON_A_GPU if self._on_gpu else TRAINING_WORTHWHILE
        return 3 * self._images * macs(model, self._form) >= least

    def frozen(self, network: Frozen) -> bool:
        """Whether a frozen network is compiled."""
        if not self._possible or network.spreads:
            return False
        return self._mode == "on" or self._images * macs(network.model, self._form) >= WORTHWHILE


@contextmanager
def fitting_threads(config: RunConfig) -> Iterator[None]:
    """One thread for a small run on a CPU, torch's own number otherwise; afterwards as before.

    The number follows from the run alone, so that a run that is resumed on the same machine has the same one: sums over
    several threads round differently.
    """
    before = torch.get_num_threads()
    wanted = number_of_threads(config)
    if wanted != before:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def number_of_threads(config: RunConfig) -> int:
    """As many as :func:`fitting_threads` takes."""
    return 1 if config.device.type == "cpu" and _step(config) < SMALL_STEP else torch.get_num_threads()


def _step(config: RunConfig) -> int:
    """Multiply-accumulates of a training step; a backward pass counts as two forward passes."""
    shape = config.input_form
    teachers = [macs(teacher.model, shape) for teacher in config.teachers if teacher is not None]
    return config.recipe.training.batch_size * (3 * macs(config.student, shape) + max(teachers, default=0))
