r"""Knowledge distillation with the reused teacher classifier.

Paper: Chen, Mei, Zhang, Wang, Feng, Chen: Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022

arXiv: 2203.14001

Formula:
    L = \mathrm{mean}_{i,c,h,w} (p(f^s_i) - f^t_i)_{chw}^2

Reads: the last feature map before pooling, of both models.

Shapes: student map [N, C^s, H^s, W^s], teacher map [N, C, H, W]; p maps the first to C channels. The student predicts
    with the teacher's classifier on the mean over positions of p(f^s), logits [N, classes].

Source: DefangChen/SimKD, models/util.py (SimKD)

Differences:
    - The student is another network afterwards: its own last layers are replaced by the projector and a frozen copy of
      the teacher's classifier, in training, in evaluation and in the saved weights. A following stage continues with
      that network; a method that reads features reads those before the projector.
    - The published experiments use neither labels nor logits: cross-entropy has weight 0.
    - A student map that is larger is average-pooled to the teacher's size before the projector; otherwise the
      teacher's is average-pooled to the student's size.
    - The last map of a wide ResNet is a residual sum. The teacher's is compared after the batch norm and the ReLU that
      follow, as its classifier reads it; the published code has no such networks.
    - The teacher's classifier must read the channels of its last map, which is not so in MobileNetV2 and ShuffleNetV2.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.layers import ClassifierInput, LenientBatchNorm2d, classifier_of_maps
from smskd.ops.pairing import last_maps
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean


@full_precision
def simkd_loss(projected: Tensor, teacher: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Mean squared difference between the projected student map and the teacher's, average-pooled to its size.

    Chen et al. 2022, arXiv 2203.14001; equal to the loss of DefangChen/SimKD.

    Args:
        projected: [N, channels, height, width], the student's map after the projector.
        teacher: [N, channels, height, width], at least as large.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over its elements.
    """
    target = F.adaptive_avg_pool2d(teacher, (projected.shape[2], projected.shape[3]))
    return reduced(sample_mean((projected - target).square()), reduction)


class Projector(nn.Module):
    """Bottleneck of 1x1, 3x3 and 1x1 convolution, each with batch norm and ReLU.

    Args:
        channels: of the student's map.
        wanted: of the teacher's map.
        factor: quotient of the teacher's channels and those in the middle.
    """

    def __init__(self, channels: int, wanted: int, factor: int) -> None:
        super().__init__()
        middle = max(1, wanted // factor)
        self.conv1 = nn.Conv2d(channels, middle, 1, bias=False)
        self.bn1 = LenientBatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.bn2 = LenientBatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, wanted, 1, bias=False)
        self.bn3 = LenientBatchNorm2d(wanted)

    def forward(self, x: Tensor) -> Tensor:
        """[N, student channels, H, W] to [N, teacher channels, H, W]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)))


class ReusedHead(nn.Module):
    """The student's new last layers: projector and the teacher's classifier.

    Args:
        projector: from the student's map to the teacher's channels.
        classifier: a frozen copy of the teacher's.
        target: the teacher's layers between its last map and its pooling.
        size: height and width of the teacher's map.
    """

    def __init__(
        self, projector: Projector, classifier: nn.Linear, target: ClassifierInput, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.projector = projector
        self.teacher_classifier = classifier
        self.target = target
        self.size = size

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The projected map and the logits of a student's map [N, channels, H, W]."""
        size = (min(x.shape[2], self.size[0]), min(x.shape[3], self.size[1]))
        if tuple(x.shape[2:]) != size:
            x = F.adaptive_avg_pool2d(x, size)
        projected = self.projector(x)
        return projected, self.teacher_classifier(projected.mean((2, 3)))


@dataclass(frozen=True)
class SimKD(Method):
    """SimKD: the student learns the teacher's last map and predicts with the teacher's classifier.

    Attributes:
        factor: quotient of the teacher's channels and those in the middle of the projector.
    """

    factor: int = 2

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0
    published_ce_weight: ClassVar[float] = 0.0
    replaces_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(factor=self.factor)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The last map before pooling of both models."""
        return last_maps(student, teacher, "SimKD")

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """The student's new last layers.

        Raises:
            UserError: the teacher has no linear classifier that reads the mean of its last map.
        """
        assert teacher is not None
        channels, height, width = teacher.shapes[0]
        projector = Projector(student.shapes[0][0], channels, self.factor)
        classifier = classifier_of_maps(teacher, "SimKD")
        return ReusedHead(projector, classifier, ClassifierInput(teacher), (height, width))

    def head(self, student: TappedOutputs, state: nn.Module) -> TappedOutputs:
        """The logits of the teacher's classifier, and the projected map."""
        projected, logits = state(student.features[0])
        return TappedOutputs(logits, (projected,))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``feature``: the mean squared difference of the maps, [N]."""
        assert isinstance(state, ReusedHead)
        return {"feature": simkd_loss(inputs.student.features[0], state.target(inputs.teacher.features[0]), "none")}
