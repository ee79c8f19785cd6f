r"""Softmax regression representation learning.

Paper: Yang, Martinez, Bulat, Tzimiropoulos: Knowledge Distillation via Softmax Regression Representation Learning,
    ICLR 2021

arXiv:

Formula:
    L = w_f \, \mathrm{mean}_{i,c} (\bar g_{ic} - \bar f^t_{ic})^2
        + w_r \, \mathrm{mean}_{i,k} (h^t(\bar g_i) - z^t_i)_k^2,
    g = \mathrm{ReLU}(\mathrm{BN}(\mathrm{Conv}(f^s)))

Reads: the pooled vectors (variant simkd) or the last maps before pooling (original), and the teacher's logits.

Shapes: features [N, D] or [N, C, H, W], logits [N, classes]; a bar is the mean over positions, h^t the teacher's
    classifier, frozen.

Source: jingyang2017/KD_SRRL, distiller_zoo/AIN.py (original); DefangChen/SimKD, models/util.py (simkd)

Differences:
    - The variant original applies the connector to the map and pools afterwards; simkd applies it to the pooled
      vector, as a map of 1x1. Because of the ReLU the two differ.
    - The last map of a wide ResNet is a residual sum; the original variant compares the teacher's after the batch norm
      and the ReLU that follow, as its classifier reads it.
    - The regression is a mean squared error of logits, not a divergence of softmaxes.
    - The training in SimKD's repository adds plain KD with weight 1; add it as a method of the same stage.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError, require_between
from smskd.interfaces.features import LOGITS, FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.layers import ClassifierInput, LenientBatchNorm2d, classifier_of_maps, reused_classifier
from smskd.ops.pairing import last_maps, pooled_vectors
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean


@full_precision
def srrl_loss(
    connected: Tensor,
    teacher: Tensor,
    student_logits: Tensor,
    teacher_logits: Tensor,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """The differences of the pooled features and of the logits that the teacher's classifier computes from them.

    Yang et al. 2021; equal to the losses of jingyang2017/KD_SRRL and of DefangChen/SimKD.

    Args:
        connected: [N, D], the student's pooled feature after the connector.
        teacher: [N, D], the teacher's pooled feature.
        student_logits: [N, classes], the teacher's classifier on ``connected``.
        teacher_logits: [N, classes].
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        The mean squared differences of features and of logits, scalars; [N] with reduction ``none``.
    """
    feature, regression = (connected - teacher).square(), (student_logits - teacher_logits).square()
    return reduced(sample_mean(feature), reduction), reduced(sample_mean(regression), reduction)


class Connector(nn.Module):
    """A 1x1 convolution with batch norm and ReLU.

    Args:
        channels: of the student's feature.
        wanted: of the teacher's feature.
    """

    def __init__(self, channels: int, wanted: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, wanted, 1, bias=False)
        self.bn = LenientBatchNorm2d(wanted)

    def forward(self, x: Tensor) -> Tensor:
        """A map [N, student channels, H, W] or vector [N, student channels] to the pooled [N, teacher channels]."""
        x = x if x.dim() == 4 else x[:, :, None, None]
        return F.relu(self.bn(self.conv(x))).mean((2, 3))


class SRRLState(nn.Module):
    """The trained connector, and frozen copies of the teacher's last layers.

    Args:
        connector: from the student's feature to the teacher's channels.
        classifier: a frozen copy of the teacher's.
        target: the teacher's layers between its last map and its pooling.
    """

    def __init__(self, connector: Connector, classifier: nn.Linear, target: ClassifierInput) -> None:
        super().__init__()
        self.connector = connector
        self.teacher_classifier = classifier
        self.target = target


@dataclass(frozen=True)
class SRRL(Method):
    """SRRL: the teacher's classifier gives the same logits for the student's connected feature as for the teacher's.

    Attributes:
        feature_weight: weight of the difference of features.
        regression_weight: weight of the difference of logits.
        variant: the connector is applied to the pooled vector (simkd) or to the last map (original).
    """

    feature_weight: float = 1.0
    regression_weight: float = 1.0
    variant: Literal["simkd", "original"] = "simkd"

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_between(0, float("inf"), feature_weight=self.feature_weight, regression_weight=self.regression_weight)
        if self.variant not in ("simkd", "original"):
            raise UserError(f"variant must be simkd or original, not {self.variant}")

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The pooled vectors or the last maps of both models, and the teacher's logits."""
        read = pooled_vectors if self.variant == "simkd" else last_maps
        features = read(student, teacher, "SRRL")
        return Reads(features.student, (*features.teacher, LOGITS))

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """The connector and a frozen copy of the teacher's classifier.

        Raises:
            UserError: the teacher has no linear classifier that reads the compared feature.
        """
        assert teacher is not None
        wanted = teacher.shapes[0][0]
        connector = Connector(student.shapes[0][0], wanted)
        maps = len(teacher.shapes[0]) > 1
        classifier = classifier_of_maps(teacher, "SRRL") if maps else reused_classifier(teacher, wanted, "SRRL")
        return SRRLState(connector, classifier, ClassifierInput(teacher))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``feature`` and ``softmax_regression``: the two terms, [N], with their weights."""
        assert isinstance(state, SRRLState)
        connected = state.connector(inputs.student.features[0])
        target = state.target(inputs.teacher.features[0])
        target = target.mean((2, 3)) if target.dim() == 4 else target
        logits = state.teacher_classifier(connected)
        feature, regression = srrl_loss(connected, target, logits, inputs.teacher.logits, "none")
        return {
            "feature": self.feature_weight * feature,
            "softmax_regression": self.regression_weight * regression,
        }
