r"""Distillation of activation boundaries.

Paper: Heo, Lee, Yun, Choi: Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden
    Neurons, AAAI 2019

arXiv: 1811.03233

Formula:
    L = \sum_{l=0}^{n-1} 2^{l-n+1} \frac{3}{1000 N} \sum_{i,c,h,w}
        \begin{cases} \max(0, x + m)^2 & f^t \le 0 \\ \max(0, m - x)^2 & f^t > 0 \end{cases},
    x = r_l(f^s_l)

Taps: the map of each stage of both models before its ReLU, the last ones paired where one has more.

Shapes: maps [N, C, H, W]; r brings the student's to the shape of the teacher's.

Source: HobbitLong/RepDistiller, distiller_zoo/AB.py (ABLoss), models/util.py (Connector), helper/pretrain.py

Differences:
    - As published the loss initialises the student in a phase before the stage, in which nothing else is
      minimised. In the stage itself it is 0; `main_stage` adds it there, which is an extension.
    - The published phase leaves out what comes after the last block (WRN: its last batch norm); here the
      whole student is trained in it.
    - Levels are summed with weights that double from one to the next, the last weighing 1; the factor 3/1000
      is part of the loss.
    - The connector r is batch norm behind a convolution, which the heights choose: 3x3 with stride 2 for a
      student map twice as large, a transposed 4x4 with stride 2 for one half as large, else one without
      padding of size 1 + student - teacher. A student map smaller by another factor is an error. Where
      channels and size agree there is no connector.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_count, require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method, Pretraining
from smskd.ops.layers import ConvRegressor
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision

SCALE = 3 / 1000


@full_precision
def ab_loss(connected: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """How far neurons are from the teacher's side of the boundary between active and inactive, one pair of maps.

    Heo et al. 2019, arXiv 1811.03233; a level of ``ABLoss`` of HobbitLong/RepDistiller before its weight.

    Args:
        connected: the student's map before the ReLU behind the connector, [N, C, H, W].
        teacher: the teacher's map before the ReLU, same shape.
        margin: distance from the boundary beyond which a neuron on the right side costs nothing.

    Returns:
        Scalar: the sum over all elements / N * 3 / 1000.
    """
    distance = torch.where(teacher > 0, margin - connected, margin + connected).relu()
    return distance.square().sum() / len(connected) * SCALE


@dataclass(frozen=True)
class AB(Method):
    """Activation boundaries: the student's neurons are made active where the teacher's are.

    Attributes:
        margin: how far beyond the boundary a neuron has to be.
        init_epochs: epochs of the phase before the stage; 0 skips it.
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

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage of both models before its ReLU."""
        stages = paired_stages(student, teacher, "AB")
        return Reads(
            tuple(student.before_relu(name) for name in stages.student),
            tuple(teacher.before_relu(name) for name in stages.teacher),
        )

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """A connector a level: ``connector0``, ``connector1``, ..., empty where the shapes agree."""
        pairs = enumerate(zip(student.shapes, teacher.shapes, strict=True))
        return nn.ModuleDict({f"connector{level}": _connector(s, t) for level, (s, t) in pairs})

    def pretraining(self, student: ModelInfo) -> Pretraining | None:
        """Student and connectors are trained with this loss alone."""
        return Pretraining(self.init_epochs, trains_student=True) if self.init_epochs else None

    def pretraining_loss(
        self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module
    ) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one a pair of maps, with its weight."""
        pairs = list(zip(student.features, teacher.features, strict=True))
        parts = {}
        for level, (own, target) in enumerate(pairs):
            connected = state.get_submodule(f"connector{level}")(own)
            parts[f"level{level}"] = 2.0 ** (level - len(pairs) + 1) * ab_loss(connected, target, self.margin)
        return parts

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``boundary``: 0; or, with ``main_stage``, as :meth:`pretraining_loss`."""
        if self.main_stage:
            return self.pretraining_loss(student, teacher, batch, state)
        return {"boundary": torch.zeros((), device=student.features[0].device)}


def _connector(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    return nn.Identity() if student == teacher else ConvRegressor(student, teacher, relu=False)
