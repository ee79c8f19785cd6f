r"""Flow of the solution procedure.

Paper: Yim, Joo, Bae, Kim: A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and
    Transfer Learning, CVPR 2017

arXiv:

Formula:
    L = \sum_{l=0}^{n-2} \frac{1}{N C_l C_{l+1}} \sum_{i,c,c'} (M^s_{li} - M^t_{li})_{c'c}^2,
    M_{l,c'c} = \frac{1}{H W} \sum_{h,w} f_{l,chw} \, f_{l+1,c'hw}

Reads: the stem and the map of each stage of both models; where the numbers of stages differ, or a model has
    no stem, the last stages that both have.

Shapes: maps [N, C, H, W]; at each level both models need equally many channels, sizes may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/FSP.py (FSP), helper/pretrain.py

Differences:
    - As published, the loss initialises the student in a phase before the stage, in which nothing else is minimised.
      In the stage itself it is 0; `main_stage` adds it there, which is an extension.
    - Of two neighbouring maps that differ in size the larger is average-pooled to the smaller.
    - The loss is the mean over the entries of the matrices; the paper sums them, with a weight for each pair.
    - The paper relates the maps at the start and at the end of each stage, the published code neighbouring outputs,
      from the stem on.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_count
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import Kind, Method, Pretraining, TermInputs
from smskd.ops.geometry import pool_to_smaller
from smskd.ops.pairing import paired_stage_names, require_teacher
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean


@full_precision
def fsp_loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], reduction: Reduction = "mean") -> Tensor:
    """Mean squared difference between the FSP matrices of two models for two neighbouring levels.

    Yim et al. 2017; a pair of ``FSP`` of HobbitLong/RepDistiller.

    Args:
        student: maps [N, C, H, W] and [N, D, H', W'] of the two levels.
        teacher: likewise, with the same C and D; the sizes may differ.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over the C * D entries.
    """
    return reduced(sample_mean((_flow(*student) - _flow(*teacher)).square()), reduction)


def _flow(first: Tensor, second: Tensor) -> Tensor:
    """[N, D, C]: products of the channels of one level and of the next, averaged over the positions."""
    first, second = (x.flatten(2) for x in pool_to_smaller(first, second))
    return second @ first.transpose(1, 2) / first.shape[2]


@dataclass(frozen=True)
class FSP(Method):
    """Flow of the solution procedure: inner products between the channels of neighbouring stages are matched.

    Attributes:
        init_epochs: epochs of the phase before the stage; 0: no phase.
        main_stage: whether the loss is used in the stage too; as published it is 0 there.
    """

    init_epochs: int = 30
    main_stage: bool = False

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 50.0

    def __post_init__(self) -> None:
        require_count(0, init_epochs=self.init_epochs)
        if self.init_epochs == 0 and not self.main_stage:
            raise UserError("init_epochs 0 leaves FSP without any effect; set main_stage too, or 1 epoch or more")

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The stem and the map of each stage of both models.

        Raises:
            UserError: there is no teacher, fewer than two maps are paired, or the channels of two paired maps differ.
        """
        teacher = require_teacher(teacher, "FSP")
        student_names, teacher_names = paired_stage_names(student, teacher, "FSP")
        if student.stem and teacher.stem and len(student.stages) == len(teacher.stages):
            student_names, teacher_names = (student.stem, *student_names), (teacher.stem, *teacher_names)
        if len(student_names) < 2:
            raise UserError("FSP relates neighbouring maps, and these models have a single map in common")
        for own, target in zip(student_names, teacher_names, strict=True):
            channels, wanted = student.features[own][0], teacher.features[target][0]
            if channels != wanted:
                raise UserError(
                    f"FSP needs equal channel counts in each pair of maps; the student's {own} has {channels} "
                    f"and the teacher's {target} {wanted}"
                )
        return Reads(student_names, teacher_names)

    def pretraining(self, student: ModelInfo) -> Pretraining | None:
        """The student is trained with this loss alone."""
        return Pretraining(self.init_epochs, trains_student=True) if self.init_epochs else None

    def pretraining_loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``pair0``, ``pair1``, ...: one for each two neighbouring levels, [N]."""
        pairs = enumerate(zip(pairwise(inputs.student.features), pairwise(inputs.teacher.features), strict=True))
        return {f"pair{number}": fsp_loss(s, t, "none") for number, (s, t) in pairs}

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``flow``: zeros [N]; with ``main_stage`` the parts of :meth:`pretraining_loss`."""
        if self.main_stage:
            return self.pretraining_loss(inputs, state)
        return {"flow": torch.zeros(len(inputs.student.features[0]), device=inputs.student.features[0].device)}
