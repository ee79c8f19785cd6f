r"""Distillation of activation boundaries.

Paper: Heo, Lee, Yun, Choi: Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden
    Neurons, AAAI 2019

arXiv: 1811.03233

Formula:
    L = \sum_{l=0}^{n-1} 2^{l-n+1} \frac{3}{1000 N} \sum_{i,c,h,w}
        \begin{cases} \max(0, x + m)^2 & f^t \le 0 \\ \max(0, m - x)^2 & f^t > 0 \end{cases},
    x = r_l(f^s_l)

Reads: the map of each stage of both models before its ReLU, the last ones paired where one has more.

Shapes: maps [N, C, H, W]; r maps the student's to the shape of the teacher's.

Source: HobbitLong/RepDistiller, distiller_zoo/AB.py (ABLoss), models/util.py (Connector), helper/pretrain.py

Differences:
    - As published, the loss initialises the student in a phase before the stage, in which nothing else is minimised.
      In the stage itself it is 0; `main_stage` adds it there, which is an extension.
    - The published phase leaves out the layers after the last block (WRN: its last batch norm); here the whole
      student is trained in it.
    - The weights of the levels double from one to the next, the last being 1; the factor 3/1000 is part of the loss.
    - The connector r is a convolution and a batch norm. The heights determine the convolution: 3x3 with stride 2 for
      a student map twice as large, a transposed 4x4 with stride 2 for one half as large, otherwise one without
      padding whose kernel size is 1 + student - teacher. A student map that is
      smaller by another factor, which published code refuses, is resized, and a 1x1 convolution follows.
      Where the shapes are equal there is no connector.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_count, require_positive
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, Shape
from smskd.interfaces.terms import DataInfo, Kind, Method, Pretraining, TermInputs
from smskd.ops.layers import ConvRegressor
from smskd.ops.levels import LevelModules
from smskd.ops.pairing import paired_preactivations
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_sum

SCALE = 3 / 1000


@full_precision
def ab_loss(connected: Tensor, teacher: Tensor, margin: float, reduction: Reduction = "mean") -> Tensor:
    """Squared distance of the student's neurons from the teacher's side of the activation boundary, one pair of maps.

    Heo et al. 2019, arXiv 1811.03233; a level of ``ABLoss`` of HobbitLong/RepDistiller before its weight.

    Args:
        connected: the student's map before the ReLU, after the connector, [N, C, H, W].
        teacher: the teacher's map before the ReLU, same shape.
        margin: distance from the boundary beyond which a neuron on the right side has no loss.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is summed over its elements, times 3 / 1000.
    """
    distance = torch.where(teacher > 0, margin - connected, margin + connected).relu()
    return reduced(sample_sum(distance.square()), reduction) * SCALE


class Connectors(LevelModules[nn.Module]):
    """A connector for each level: ``connector0``, ``connector1``, ...; the identity where the shapes are equal."""


@dataclass(frozen=True)
class AB(Method):
    """Activation boundaries: the student's neurons are active where the teacher's are.

    Attributes:
        margin: distance from the boundary that a neuron has to reach.
        init_epochs: epochs of the phase before the stage; 0: no phase.
        main_stage: whether the loss is used in the stage too; as published it is 0 there.
    """

    margin: float = 1.0
    init_epochs: int = 30
    main_stage: bool = False

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_positive(margin=self.margin)
        require_count(0, init_epochs=self.init_epochs)
        if self.init_epochs == 0 and not self.main_stage:
            raise UserError("init_epochs 0 leaves AB without any effect; set main_stage too, or 1 epoch or more")

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage of both models before its ReLU."""
        return paired_preactivations(student, teacher, "AB")

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """A connector for each level.

        Raises:
            UserError: one of the features is not a map.
        """
        assert teacher is not None
        return Connectors("connector", map(_connector, student.shapes, teacher.shapes))

    def pretraining(self, student: ModelInfo) -> Pretraining | None:
        """Student and connectors are trained with this loss alone."""
        return Pretraining(self.init_epochs, trains_student=True) if self.init_epochs else None

    def pretraining_loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one for each pair of maps, [N], with its weight."""
        assert isinstance(state, Connectors)
        levels = zip(state, inputs.student.features, inputs.teacher.features, strict=True)
        losses = [ab_loss(connector(s), t, self.margin, "none") for connector, s, t in levels]
        return {f"level{level}": 2.0 ** (level - len(losses) + 1) * loss for level, loss in enumerate(losses)}

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``boundary``: zeros [N]; with ``main_stage`` the parts of :meth:`pretraining_loss`."""
        if self.main_stage:
            return self.pretraining_loss(inputs, state)
        return {"boundary": torch.zeros(len(inputs.student.features[0]), device=inputs.student.features[0].device)}


def _connector(student: Shape, teacher: Shape) -> nn.Module:
    return nn.Identity() if student == teacher else ConvRegressor(student, teacher, relu=False)
