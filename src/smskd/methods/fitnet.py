r"""FitNets: hints from an intermediate layer.

Paper: Romero, Ballas, Kahou, Chassang, Gatta, Bengio: FitNets: Hints for Thin Deep Nets, ICLR 2015

arXiv: 1412.6550

Formula:
    L = \frac{1}{N C H W} \sum_{i,c,h,w} (r(f^s_i) - f^t_i)_{chw}^2,
    r = \mathrm{ReLU} \circ \mathrm{BN} \circ \mathrm{Conv}

Reads: the map of stage `hint_layer` of both models; of networks that read tokens the hidden states of pair `hint_layer`
    of layers, evenly spaced in the deeper network.

Shapes: student map [N, C^s, H^s, W^s], teacher map [N, C, H, W]; r maps the first to the shape of the second. Hidden
    states [N, L, C^s] and [N, L, C].

Source: HobbitLong/RepDistiller, distiller_zoo/FitNet.py (HintLoss), models/util.py (ConvReg)

Differences:
    - The paper trains up to the hint layer in a first stage and distills logits in a second; the published
      code adds the hint loss to the cross-entropy during the whole training.
    - The paper's regressor is a convolution; the published one has batch norm and ReLU after it. The heights
      determine the convolution: 3x3 with stride 2 for a student map twice as large, a transposed 4x4 with stride 2
      for one half as large, otherwise one without padding whose kernel size is 1 + student - teacher. A student map
      that is smaller by another factor, which published code refuses, is resized, and a 1x1 convolution follows.
    - The loss is the mean over all elements, not half of the squared norm.
    - Hidden states are compared as in TinyBERT (Jiao et al. 2020, arXiv 1909.10351), here at a single pair of layers:
    r is
      a linear layer alone, and the mean runs over the tokens of a sample, without padding.
    - Stages are counted from 1 and the stem is not one, so 2 is `is_feat[2]` of the published code.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import UserError, require_count
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.layers import ConvRegressor
from smskd.ops.pairing import paired_layer_names, read_tokens, require_teacher
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean
from smskd.ops.tokens import token_mean


@full_precision
def fitnet_loss(regressed: Tensor, teacher: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Mean squared difference between the student's regressed feature and the teacher's.

    Romero et al. 2015, arXiv 1412.6550; equal to ``HintLoss`` of HobbitLong/RepDistiller.

    Args:
        regressed: the student's feature after the regressor, [N, ...].
        teacher: the teacher's feature, same shape.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over its elements.
    """
    return reduced(sample_mean((regressed - teacher).square()), reduction)


@full_precision
def fitnet_token_loss(
    regressed: Tensor, teacher: Tensor, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Mean squared difference between the student's regressed hidden states and the teacher's, without padding.

    Jiao et al. 2020, arXiv 1909.10351, equation 8, averaged over the tokens of each sample.

    Args:
        regressed: the student's hidden states after the regressor, [N, L, C].
        teacher: the teacher's hidden states, same shape.
        mask: bool [N, L], where there is a token; None: everywhere.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``.
    """
    return reduced(token_mean((regressed - teacher).square(), mask), reduction)


class FitNetState(nn.Module):
    """The trained regressor.

    Args:
        regressor: from the student's map to the shape of the teacher's, linear for hidden states; the identity where
            there is none.
    """

    def __init__(self, regressor: ConvRegressor | nn.Linear | nn.Identity) -> None:
        super().__init__()
        self.regressor = regressor

    def forward(self, hint: Tensor) -> Tensor:
        """[N, C^s, H^s, W^s] to [N, C, H, W], or [N, L, C^s] to [N, L, C]."""
        y: Tensor = self.regressor(hint)
        return y


@dataclass(frozen=True)
class FitNet(Method):
    """FitNets: the student's map at one stage, after a trained regressor, is fitted to the teacher's map there.

    Attributes:
        hint_layer: the stage that is compared, or the pair of layers, counted from 1.
        regressor: whether a trained regressor maps the student's map to the shape of the teacher's; otherwise the
            shapes must be equal.
    """

    hint_layer: int = 2
    regressor: bool = True

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 100.0

    def __post_init__(self) -> None:
        require_count(hint_layer=self.hint_layer)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of stage ``hint_layer`` of both models, or the hidden states of that pair of layers.

        Raises:
            UserError: there is no teacher, or a model has fewer stages.
        """
        teacher = require_teacher(teacher, "FitNet")
        if read_tokens(student, teacher):
            return self._layers(*paired_layer_names(student, teacher, "FitNet"))
        return Reads([self._stage(student, "student")], [self._stage(teacher, "teacher")])

    def _layers(self, student: tuple[str, ...], teacher: tuple[str, ...]) -> Reads:
        if len(student) < self.hint_layer:
            pairs = f"{len(student)} pair" + ("" if len(student) == 1 else "s")
            raise UserError(f"hint_layer {self.hint_layer} is beyond the {pairs} of layers of student and teacher")
        return Reads([student[self.hint_layer - 1]], [teacher[self.hint_layer - 1]])

    def _stage(self, layout: FeatureLayout, role: str) -> str:
        if len(layout.stages) < self.hint_layer:
            raise UserError(f"hint_layer {self.hint_layer} is beyond the {role}'s {_count(len(layout.stages))}")
        return layout.stages[self.hint_layer - 1]

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """The regressor, if there is one.

        Raises:
            UserError: one of the features is not a map, or the shapes differ and there is no regressor.
        """
        assert teacher is not None
        own, target = student.shapes[0], teacher.shapes[0]
        if self.regressor:
            of_tokens = len(own) == len(target) == 2
            return FitNetState(nn.Linear(own[1], target[1]) if of_tokens else ConvRegressor(own, target))
        if own != target:
            raise UserError(
                f"FitNet without a regressor needs equal shapes, not {list(own)} (student) and {list(target)} (teacher)"
            )
        return FitNetState(nn.Identity())

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``hint``: the mean squared difference, [N]."""
        assert isinstance(state, FitNetState)
        student, teacher = state(inputs.student.features[0]), inputs.teacher.features[0]
        if teacher.ndim == 3:
            return {"hint": fitnet_token_loss(student, teacher, inputs.batch.token_mask, "none")}
        return {"hint": fitnet_loss(student, teacher, "none")}


def _count(stages: int) -> str:
    return f"{stages} stage" + ("" if stages == 1 else "s")
