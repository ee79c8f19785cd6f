"""MobileNetV2 of half width for small images (Sandler et al. 2018, arXiv 1801.04381)."""

from typing import cast

from torch import Tensor, nn

from smskd.interfaces.features import LOGITS
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import global_mean, init_convolutions, init_small_linear
from smskd.models.zoo.resnet import conv3x3

_LAST_WIDTH = 1280

_STAGE_ENDS = (1, 2, 4, 6)
"""The groups of blocks, counted from 0, with which a stage ends."""

_GROUPS = (  # expansion, channels at full width, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3 and linear 1x1 convolution; a shortcut where input and output have one shape."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, inner, kernel_size=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, kernel_size=3, stride=stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, outputs, kernel_size=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.shortcut else out


class _Classifier(nn.Linear):
    """The linear layer in a container of one, whose name in a state dict is ``classifier.0``.

    :attr:`MobileNetV2.classifier` is the layer, not the container. Functions that resolve ``classifier.0`` by
    attributes (``get_submodule``, ``torch.func.functional_call``) therefore find ``0`` on the layer itself.
    """


setattr(_Classifier, "0", property(lambda layer: layer))


class MobileNetV2(ZooModel):
    """MobileNetV2 as in RepDistiller: the stem of stride 2, the second and fifth group of blocks of stride 1.

    Stages end with the second, third, fifth and seventh group of blocks. Their outputs are linear (no ReLU), so there
    are no pre-activations.

    Args:
        classes: number of classes.
        channels: channels of the images.
        width: multiplies the channels of the stem and of the blocks.
    """

    stage_count = 4

    def __init__(self, classes: int = 100, channels: int = 3, width: float = 0.5) -> None:
        super().__init__()
        inputs = int(32 * width)
        self.conv1 = nn.Sequential(conv3x3(channels, inputs, stride=2), nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.blocks = nn.ModuleList()
        for expansion, full, count, stride in _GROUPS:
            outputs = int(full * width)
            first = InvertedResidual(inputs, outputs, stride, expansion)
            rest = (InvertedResidual(outputs, outputs, 1, expansion) for _ in range(count - 1))
            self.blocks.append(nn.Sequential(first, *rest))
            inputs = outputs
        last = int(_LAST_WIDTH * max(width, 1.0))
        self.conv2 = nn.Sequential(
            nn.Conv2d(inputs, last, kernel_size=1, bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True)
        )
        # Its name in published checkpoints is that of the property below, so it cannot be assigned as an attribute.
        self._modules["classifier"] = nn.Sequential(_Classifier(last, classes))
        init_convolutions(self)
        init_small_linear(self.classifier)

    @property
    def preactivation_names(self) -> frozenset[str]:
        return frozenset()

    @property
    def classifier(self) -> nn.Linear:
        return cast(nn.Linear, cast(nn.Sequential, self._modules["classifier"])[0])

    @property
    def stage_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The last batch norm of each stage's last block. No ReLU follows; a shortcut may be added to its output."""
        groups = (cast(nn.Sequential, self.blocks[number]) for number in _STAGE_ENDS)
        return tuple(cast(nn.BatchNorm2d, cast(InvertedResidual, group[-1]).conv[-1]) for group in groups)

    def steps(self) -> tuple[Step, ...]:
        groups = self.blocks
        return (
            ("stem", self.conv1),
            ("stage1", lambda x: groups[1](groups[0](x))),
            ("stage2", groups[2]),
            ("stage3", lambda x: groups[4](groups[3](x))),
            ("stage4", lambda x: groups[6](groups[5](x))),
            ("pooled", lambda x: global_mean(self.conv2(x))),
            (LOGITS, self.classifier),
        )
