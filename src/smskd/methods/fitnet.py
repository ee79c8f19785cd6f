r"""FitNets: hints from an intermediate layer.

Paper: Romero, Ballas, Kahou, Chassang, Gatta, Bengio: FitNets: Hints for Thin Deep Nets, ICLR 2015

arXiv: 1412.6550

Formula:
    L = \frac{1}{N C H W} \sum_{i,c,h,w} (r(f^s_i) - f^t_i)_{chw}^2,
    r = \mathrm{ReLU} \circ \mathrm{BN} \circ \mathrm{Conv}

Taps: the map of stage `hint_layer` of both models.

Shapes: student map [N, C_s, H_s, W_s], teacher map [N, C, H, W]; r brings the first to the second.

Source: HobbitLong/RepDistiller, distiller_zoo/FitNet.py (HintLoss), models/util.py (ConvReg)

Differences:
    - The paper trains up to the hint layer in a first stage and distills logits in a second; the published
      code adds the hint loss to the cross-entropy during the whole training.
    - The paper's regressor is a convolution; the published one has batch norm and ReLU after it. The heights
      choose it: 3x3 with stride 2 for a student map twice as large, a transposed 4x4 with stride 2 for one
      half as large, else a convolution without padding of size 1 + student - teacher. A student map smaller
      by another factor is an error.
    - The loss is the mean over all elements, not half of the squared norm.
    - Stages are counted from 1 and the stem is not one, so 2 is `is_feat[2]` of the published code.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import UserError, require_count
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.layers import ConvRegressor
from smskd.ops.precision import full_precision


@full_precision
def fitnet_loss(regressed: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the student's regressed hint and the teacher's.

    Romero et al. 2015, arXiv 1412.6550; equal to ``HintLoss`` of HobbitLong/RepDistiller.

    Args:
        regressed: the student's feature behind the regressor, any shape.
        teacher: the teacher's feature, same shape.

    Returns:
        Scalar, averaged over all elements.
    """
    return (regressed - teacher).square().mean()


@dataclass(frozen=True)
class FitNet(Method):
    """FitNets: a regressor of the student's map at one stage is fitted to the teacher's map there.

    Attributes:
        hint_layer: the stage that is compared, counted from 1.
        regressor: whether a trained layer brings the student's map to the teacher's shape; else both must
            be equal.
    """

    hint_layer: int = 2
    regressor: bool = True

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 100.0

    def __post_init__(self) -> None:
        require_count(hint_layer=self.hint_layer)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of stage ``hint_layer`` of both models."""
        return Reads((self._stage(student, "student"),), (self._stage(teacher, "teacher"),))

    def _stage(self, layout: FeatureLayout, side: str) -> str:
        if len(layout.stages) < self.hint_layer:
            raise UserError(f"hint_layer {self.hint_layer} is beyond the {side}'s {_count(len(layout.stages))}")
        return layout.stages[self.hint_layer - 1]

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """The regressor, if there is one."""
        if self.regressor:
            return nn.ModuleDict({"regressor": ConvRegressor(student.shapes[0], teacher.shapes[0])})
        if student.shapes[0] != teacher.shapes[0]:
            raise UserError(
                f"FitNet without a regressor needs equal shapes, not {list(student.shapes[0])} (student) and "
                f"{list(teacher.shapes[0])} (teacher)"
            )
        return nn.ModuleDict()

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``hint``: the mean squared difference."""
        hint = student.features[0]
        if self.regressor:
            hint = state.get_submodule("regressor")(hint)
        return {"hint": fitnet_loss(hint, teacher.features[0])}


def _count(stages: int) -> str:
    return f"{stages} stage" + ("" if stages == 1 else "s")
