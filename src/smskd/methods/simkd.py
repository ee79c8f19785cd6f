r"""Knowledge distillation with the reused teacher classifier.

Paper: Chen, Mei, Zhang, Wang, Feng, Chen: Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022

arXiv: 2203.14001

Formula:
    L = \mathrm{mean}_{i,c,h,w} (p(f^s_i) - f^t_i)_{chw}^2

Taps: the last feature map before pooling, of both models.

Shapes: student map [N, C_s, H_s, W_s], teacher map [N, C, H, W]; p brings the first to C channels. The student
    predicts with the teacher's classifier on the mean over positions of p(f^s), logits [N, classes].

Source: DefangChen/SimKD, models/util.py (SimKD)

Differences:
    - The student is another network afterwards: its own last layers give way to the projector and a frozen copy of
      the teacher's classifier, in training, in testing and in the weights that are written. A following stage goes
      on with that network; a method that reads features reads those below the projector.
    - The published experiments use neither labels nor logits: cross-entropy has weight 0.
    - A student map that is larger is averaged down to the teacher's size before the projector; otherwise the
      teacher's is averaged down to the student's.
    - The last map of a wide ResNet is a raw sum. The teacher's is compared behind the batch norm and the ReLU that
      follow, which is what its classifier reads; the published code has no such networks.
    - The teacher's classifier must read the channels of its last map, which MobileNetV2's and ShuffleNetV2's do not.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.layers import ClassifierInput, LenientBatchNorm2d, reused_classifier
from smskd.ops.pairing import last_maps
from smskd.ops.precision import full_precision


@full_precision
def simkd_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the projected student map and the teacher's, which is averaged down to its size.

    Chen et al. 2022, arXiv 2203.14001; equal to the loss of DefangChen/SimKD.

    Args:
        projected: [N, channels, height, width], the student's behind the projector.
        teacher: [N, channels, height, width], at least as large.

    Returns:
        Scalar, averaged over all elements.
    """
    return (projected - F.adaptive_avg_pool2d(teacher, (projected.shape[2], projected.shape[3]))).square().mean()


class Projector(nn.Module):
    """1x1, 3x3 and 1x1 convolution, each with batch norm and ReLU, narrow in the middle.

    Args:
        channels: of the student's map.
        wanted: of the teacher's map.
        factor: by which the middle is narrower than the teacher's map.
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
        target: from the teacher's last map to what its classifier reads.
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
        factor: by which the middle of the projector is narrower than the teacher's map.
    """

    factor: int = 2

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0
    published_ce_weight: ClassVar[float] = 0.0
    replaces_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(factor=self.factor)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The last map before pooling of both models."""
        return last_maps(student, teacher, "SimKD")

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """The student's new last layers."""
        channels, height, width = teacher.shapes[0]
        projector = Projector(student.shapes[0][0], channels, self.factor)
        classifier = reused_classifier(teacher, channels, "SimKD")
        return ReusedHead(projector, classifier, ClassifierInput(teacher), (height, width))

    def transform(self, student: TappedOutputs, state: nn.Module) -> TappedOutputs:
        """The logits of the teacher's classifier, and the projected map."""
        projected, logits = state(student.features[0])
        return TappedOutputs(logits, (projected,))

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``feature``: the mean squared difference of the maps."""
        target = state.get_submodule("target")(teacher.features[0])
        return {"feature": simkd_loss(student.features[0], target)}
