"""The parts from which the objective of a stage is built."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from smskd.distributed.sharing import UNSHARED, Sharing
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import InputForm, Inputs, device_of, form_of
from smskd.interfaces.terms import Anchor, DataInfo, WeightedMethod
from smskd.models.frozen import Frozen
from smskd.objective.tapped_features import Extractor
from smskd.teacher_cache import TeacherCache
from smskd.timing import IDLE, Clock


def _never(_network: Frozen) -> bool:
    return False


@dataclass(frozen=True)
class StageParts:
    """The parts from which the objective of a stage is built.

    Attributes:
        student: the network to train, on its device.
        teacher, reference: frozen networks, on the same device; None where there is none.
        methods: distilled in the stage.
        anchor: holds the student near the reference; None: nothing does.
        ce_weight: of the cross-entropy.
        data: of the training data.
        example: one or more images [N, channels, height, width], or samples of several tensors by name, for their
            shape, type and device.
        cache: of the teacher's outputs.
        clock: times the parts of a step.
        extractor: computes the student's features in place of the student itself, compiled; None: the student.
        compiles: whether a frozen network, whose outputs are not cached, is compiled.
        anchor_state: of an equal anchor at the end of the previous stage, whose contents go on.
        sharing: of batches, with other processes.
    """

    student: FeatureModel
    teacher: Frozen | None
    reference: Frozen | None
    methods: tuple[WeightedMethod, ...]
    anchor: Anchor | None
    ce_weight: float
    data: DataInfo
    example: Inputs
    cache: TeacherCache | None = None
    clock: Clock = IDLE
    extractor: Extractor | None = None
    compiles: Callable[[Frozen], bool] = _never
    anchor_state: nn.Module | None = None
    sharing: Sharing = UNSHARED

    @property
    def input_form(self) -> InputForm:
        """The form of a sample: (channels, height, width) of an image, or the example."""
        return form_of(self.example)

    @property
    def device(self) -> torch.device:
        """The device of training."""
        return device_of(self.example)
