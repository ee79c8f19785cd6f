"""Layers from the feature shapes of the student to those of the teacher."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import ModelInfo, Shape

PREACTIVATION_NETWORKS = frozenset({"WideResNet"})
"""Families of the zoo whose last map is a residual sum, followed by a batch norm and a ReLU."""


class ConvRegressor(nn.Module):
    """A convolution from the student's map to the shape of the teacher's, then batch norm, then ReLU.

    The sizes determine the convolution: 3x3 with stride 2 where the student's map is twice as large, a transposed 4x4
    with stride 2 where it is half as large, otherwise one without padding whose kernel size is 1 + student - teacher
    (1x1 for equal sizes). For square maps this is the rule of published code, which considers the height alone. Where
    that has no convolution, the student's map is smaller by another factor; it is resized to the teacher's (bilinearly)
    and a 1x1 convolution follows.

    Args:
        student: (channels, height, width).
        teacher: (channels, height, width).
        relu: whether a ReLU follows the batch norm.

    Raises:
        UserError: one of the shapes is not that of a map.
    """

    def __init__(self, student: Shape, teacher: Shape, relu: bool = True) -> None:
        super().__init__()
        self.conv = _fitting_convolution(student, teacher)
        self.bn = nn.BatchNorm2d(teacher[0])
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, student channels, ...] to [N, teacher channels, ...]."""
        y: Tensor = self.relu(self.bn(self.conv(x)))
        return y


def _fitting_convolution(student: Shape, teacher: Shape) -> nn.Module:
    if len(student) != 3 or len(teacher) != 3:
        raise UserError(
            f"a convolution needs feature maps, not shapes {_times(student)} (student) and {_times(teacher)}"
        )
    (channels, height, width), (wanted, target_height, target_width) = student, teacher
    if height == 2 * target_height and (width + 1) // 2 == target_width:
        return nn.Conv2d(channels, wanted, 3, stride=2, padding=1)
    if 2 * height == target_height and 2 * width == target_width:
        return nn.ConvTranspose2d(channels, wanted, 4, stride=2, padding=1)
    kernel = (1 + height - target_height, 1 + width - target_width)
    if min(kernel) > 0:
        return nn.Conv2d(channels, wanted, kernel)
    return nn.Sequential(Resize((target_height, target_width)), nn.Conv2d(channels, wanted, 1))


class Resize(nn.Module):
    """Resizes maps: averages over what is larger than the size, and interpolates what is smaller.

    Args:
        size: height and width of the output.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to [N, channels, *size]."""
        smaller = (min(x.shape[2], self.size[0]), min(x.shape[3], self.size[1]))
        if tuple(x.shape[2:]) != smaller:
            x = F.adaptive_avg_pool2d(x, smaller)
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False) if smaller != self.size else x


class LenientBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where the batch has a single value per channel.

    Such a batch (a single image with a 1x1 map) has no variance, and PyTorch refuses it in train mode.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, channels, height, width] to the same shape."""
        if input.numel() > input.shape[1]:
            return super().forward(input)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ClassifierInput(nn.Module):
    """The layers of a network between its last map and its global average pooling.

    Most networks have none. A pre-activation network (wide ResNet) has a batch norm and a ReLU there. The batch norm
    is copied as an affine function with its statistics of eval mode; it is not in the state dict, because the exported
    student does not need it.

    Args:
        model: of the network; its first tapped feature is the last map.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: ModelInfo) -> None:
        super().__init__()
        norm = model.norms[0] if model.norms and model.family in PREACTIVATION_NETWORKS else None
        self.normalises = norm is not None
        if norm is not None:
            scale, shift = _as_affine(norm)
            self.register_buffer("scale", scale, persistent=False)
            self.register_buffer("shift", shift, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] to the same shape."""
        return F.relu(self.scale * x + self.shift) if self.normalises else x


def _as_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift [C, 1, 1] of a batch norm in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
    return scale.view(-1, 1, 1), shift.view(-1, 1, 1)


def linear_embedding(shape: Shape, width: int) -> nn.Linear:
    """A linear layer from a flattened feature of the given shape to a vector of the given width."""
    return nn.Linear(math.prod(shape), width)


def flat(x: Tensor) -> Tensor:
    """[N, ...] as [N, product of the rest]."""
    return torch.flatten(x, 1)


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))


def classifier_of_maps(teacher: ModelInfo, method: str) -> nn.Linear:
    """:func:`reused_classifier`, to be applied to the mean of a map that is fitted to the teacher's last map.

    Args:
        teacher: of the teacher; its first tapped feature is the last map.
        method: name of the method, for the message.

    Raises:
        UserError: the teacher's classifier reads something else than the mean of the last map.
    """
    classifier = reused_classifier(teacher, teacher.shapes[0][0], method)
    if not teacher.mean_pooled:
        raise UserError(
            f"{method} applies the teacher's classifier to the mean of a map, and this teacher's reads something else: "
            "a class token, or a vector after further layers"
        )
    return classifier


def reused_classifier(teacher: ModelInfo, inputs: int, method: str) -> nn.Linear:
    """A frozen copy of the teacher's classifier, to be applied to features of the student.

    Args:
        teacher: of the teacher.
        inputs: channels of the features that it is applied to.
        method: name of the method, for the message.

    Raises:
        UserError: the teacher has no linear classifier, or one with another number of input features.
    """
    if teacher.classifier is None:
        raise UserError(
            f"{method} reuses the teacher's last linear layer, and this teacher's logits are not the output of a single"
            " one on its pooled vector"
        )
    if teacher.classifier.in_features != inputs:
        raise UserError(
            f"{method} reuses the teacher's classifier, which has {teacher.classifier.in_features} input features; "
            f"the compared features have {inputs} channels"
        )
    return copy.deepcopy(teacher.classifier).requires_grad_(False)
