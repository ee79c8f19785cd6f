"""The losses of the baseline loop: those of smskd, written a second time as published code writes them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 4.0
FEATURE_DIM, NCE_TEMPERATURE, MOMENTUM, EPSILON = 128, 0.07, 0.5, 1e-7
"""Of CRD."""


def soft_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """The KL divergence of Hinton et al. at temperature 4, averaged over the batch; both logits are [N, classes]."""
    log_student = F.log_softmax(student / TEMPERATURE, dim=1)
    soft_teacher = F.softmax(teacher / TEMPERATURE, dim=1)
    return F.kl_div(log_student, soft_teacher, reduction="batchmean") * TEMPERATURE**2


def anchor_kl(student: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """The KL divergence from the reference at temperature 4, weighted by the reference's true class probability.

    Args:
        student, reference: logits [N, classes].
        target: classes [N].
    """
    log_student = F.log_softmax(student / TEMPERATURE, dim=1)
    soft_reference = F.softmax(reference / TEMPERATURE, dim=1)
    divergence = F.kl_div(log_student, soft_reference, reduction="none").sum(1) * TEMPERATURE**2
    confidence = F.softmax(reference, dim=1).gather(1, target.unsqueeze(1)).squeeze(1)
    return (confidence * divergence).mean()


class ConvReg(nn.Module):
    """The regressor of FitNets between feature maps of the same height and width."""

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
        self.bn = nn.BatchNorm2d(teacher_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, student's channels, height, width] to [N, teacher's channels, height, width]."""
        return self.relu(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class Embed(nn.Module):
    """The linear embedding of CRD, normalized to unit length."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width] to [N, dim]."""
        x = self.linear(x.flatten(1))
        return x / x.pow(2).sum(1, keepdim=True).sqrt()


class CRDLoss(nn.Module):
    """CRD: both embeddings, both memory banks, and the loss in both directions.

    Args:
        student_width, teacher_width: elements of a sample's feature.
        samples: rows of a memory bank, one for each sample of the data set.
        dim: of the embeddings.
    """

    memory_student: Tensor
    memory_teacher: Tensor

    def __init__(self, student_width: int, teacher_width: int, samples: int, dim: int = FEATURE_DIM) -> None:
        super().__init__()
        self.embed_student = Embed(student_width, dim)
        self.embed_teacher = Embed(teacher_width, dim)
        bound = (3 / dim) ** 0.5
        self.register_buffer("memory_student", torch.rand(samples, dim) * 2 * bound - bound)
        self.register_buffer("memory_teacher", torch.rand(samples, dim) * 2 * bound - bound)
        self.normalizers: dict[str, float] = {}

    def forward(self, student: Tensor, teacher: Tensor, index: Tensor, contrast: Tensor) -> Tensor:
        """The loss of a batch, a scalar; the batch's rows of the memory banks are updated.

        Args:
            student, teacher: features [N, ...].
            index: of the samples, [N].
            contrast: indices of the sample itself and of its negatives, [N, K + 1].
        """
        own, other = self.embed_student(student), self.embed_teacher(teacher)
        loss: Tensor = self._direction("student", own, self.memory_teacher, contrast)
        loss = loss + self._direction("teacher", other, self.memory_student, contrast)
        with torch.no_grad():
            for memory, embedding in ((self.memory_student, own), (self.memory_teacher, other)):
                moved = torch.index_select(memory, 0, index) * MOMENTUM + embedding * (1 - MOMENTUM)
                memory.index_copy_(0, index, moved / moved.pow(2).sum(1, keepdim=True).sqrt())
        return loss

    def _direction(self, name: str, embedding: Tensor, memory: Tensor, contrast: Tensor) -> Tensor:
        samples, (batch, count) = len(memory), contrast.shape
        rows = torch.index_select(memory, 0, contrast.view(-1)).view(batch, count, -1)
        scores = torch.exp(torch.bmm(rows, embedding.unsqueeze(2)).squeeze(2) / NCE_TEMPERATURE)
        if name not in self.normalizers:
            self.normalizers[name] = scores.mean().item() * samples
        probability = scores / self.normalizers[name]
        noise = (count - 1) / samples
        positive = torch.log(probability[:, 0] / (probability[:, 0] + noise + EPSILON))
        negative = torch.log(noise / (probability[:, 1:] + noise + EPSILON))
        return -(positive.sum() + negative.sum()) / batch
