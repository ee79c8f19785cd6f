"""Distillation as it is usually written: what the benchmark compares with.

A picture at a time is cropped, flipped and normalised by torchvision in the worker processes of a DataLoader. The
teacher computes all its features in every step, whatever the method reads. CRD draws its negatives sample by sample in
the data set, and gathers a row of the memory for each. The losses are those of smskd, written down once more, so that
both loops do the same work on the same networks.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

from smskd.interfaces.features import FeatureModel
from smskd.timing import Clock

METHODS = ("kd", "fitnet", "crd")
WORKERS = min(8, os.cpu_count() or 1)

TEMPERATURE = 4.0
HINT_LAYER = 2
FEATURE_DIM, NEGATIVES, NCE_TEMPERATURE, MOMENTUM, EPSILON = 128, 16384, 0.07, 0.5, 1e-7
ANCHOR_WEIGHT = 0.4

WEIGHTS = {"kd": (0.1, 0.9), "fitnet": (1.0, 100.0), "crd": (1.0, 0.8)}
"""Of the cross-entropy and of the method, as published."""


class PictureBatch(NamedTuple):
    """What the DataLoader makes of some samples."""

    x: Tensor
    y: Tensor
    sample: Tensor
    contrast: Tensor


class PictureData(torch.utils.data.Dataset[PictureBatch]):
    """Pictures, each transformed by itself; with the negatives of CRD if ``negatives`` is above 0.

    Args:
        images: uint8 [N, height, width, channels].
        labels: [N].
        transform: from a picture of PIL to a tensor.
        negatives: how many samples of other classes are drawn for each.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        transform: Callable[[Any], Tensor],
        negatives: int = 0,
    ) -> None:
        self.images = images
        self.labels = labels
        self.transform = transform
        self.negatives = negatives
        if negatives:
            self.others = [np.flatnonzero(labels != label) for label in range(labels.max() + 1)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> PictureBatch:
        image = Image.fromarray(self.images[index].squeeze())
        label = int(self.labels[index])
        return PictureBatch(
            self.transform(image), torch.tensor(label), torch.tensor(index), self._contrast(index, label)
        )

    def _contrast(self, index: int, label: int) -> Tensor:
        if not self.negatives:
            return torch.empty(0, dtype=torch.int64)
        others = self.others[label]
        drawn = np.random.choice(others, self.negatives, replace=self.negatives > len(others))
        return torch.from_numpy(np.hstack(([index], drawn)))


def training_transform(
    size: int, mean: tuple[float, ...], std: tuple[float, ...], padding: int = 4, flip: bool = True
) -> Callable[[Any], Tensor]:
    """Random crop and flip, then a normalised tensor."""
    steps: list[Any] = [transforms.RandomCrop(size, padding=padding)]
    if flip:
        steps.append(transforms.RandomHorizontalFlip())
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])  # type: ignore[no-any-return]


class ConvReg(nn.Module):
    """FitNets' regressor between maps of the same size."""

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
        self.bn = nn.BatchNorm2d(teacher_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, student's channels, height, width] to [N, teacher's channels, height, width]."""
        return self.relu(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class Embed(nn.Module):
    """CRD's linear embedding, of length 1."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width] to [N, dim]."""
        x = self.linear(x.flatten(1))
        return x / x.pow(2).sum(1, keepdim=True).sqrt()


class CRDLoss(nn.Module):
    """CRD: embeddings, memories, and the loss of both directions."""

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
        """The loss of a batch, after which its rows of the memories are moved.

        Args:
            student: [N, ...], the feature.
            teacher: [N, ...], likewise.
            index: [N], of the samples.
            contrast: [N, K + 1], the rows that are compared, the sample's own first.
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


def soft_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """The softened divergence of Hinton et al., averaged over the batch."""
    log_student = F.log_softmax(student / TEMPERATURE, dim=1)
    soft_teacher = F.softmax(teacher / TEMPERATURE, dim=1)
    return F.kl_div(log_student, soft_teacher, reduction="batchmean") * TEMPERATURE**2


def anchor_kl(student: Tensor, reference: Tensor, target: Tensor) -> Tensor:
    """The divergence from the reference, each sample weighted by the reference's probability of its class."""
    log_student = F.log_softmax(student / TEMPERATURE, dim=1)
    soft_reference = F.softmax(reference / TEMPERATURE, dim=1)
    divergence = F.kl_div(log_student, soft_reference, reduction="none").sum(1) * TEMPERATURE**2
    confidence = F.softmax(reference, dim=1).gather(1, target.unsqueeze(1)).squeeze(1)
    return (confidence * divergence).mean()


def accuracy(logits: Tensor, target: Tensor, topk: tuple[int, ...] = (1, 5)) -> list[Tensor]:
    """Percent of samples whose class is among the first k, for each k."""
    _, predicted = logits.topk(min(max(topk), logits.shape[1]), dim=1)
    correct = predicted.t().eq(target.view(1, -1))
    return [correct[:k].reshape(-1).float().sum() * (100.0 / len(target)) for k in topk]


class AverageMeter:
    """The mean of what it is given."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.count = 0

    def update(self, value: float, samples: int) -> None:
        """Takes in a mean over some samples."""
        self.sum += value * samples
        self.count += samples


class PlainLoop:
    """One stage of training.

    Args:
        student: to train; it is not copied.
        teacher: to learn from.
        method: ``kd``, ``fitnet`` or ``crd``.
        data: the pictures.
        batch_size: of a step.
        reference: the frozen student of the stage before; None in the first stage.
        feature_dim: of CRD's embeddings.
        device: to train on.
        workers: processes of the DataLoader.
        learning_rate, momentum, weight_decay: of SGD.
    """

    def __init__(
        self,
        student: FeatureModel,
        teacher: FeatureModel,
        method: str,
        data: PictureData,
        *,
        batch_size: int = 64,
        reference: FeatureModel | None = None,
        feature_dim: int = FEATURE_DIM,
        device: torch.device | str = "cpu",
        workers: int = WORKERS,
        learning_rate: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        self.device = torch.device(device)
        self.method = method
        self.student = student.to(self.device)
        self.teacher = teacher.to(self.device).eval()
        self.reference = reference.to(self.device).eval() if reference is not None else None
        self.clock = Clock(self.device)
        self.loader: DataLoader[PictureBatch] = DataLoader(
            data, batch_size=batch_size, shuffle=True, num_workers=workers
        )
        self.criterion = self._criterion(data, feature_dim).to(self.device)
        trained = nn.ModuleList([self.student, self.criterion])
        self.optimizer = torch.optim.SGD(
            trained.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
        )
        self.losses, self.top1, self.top5 = AverageMeter(), AverageMeter(), AverageMeter()

    def batches(self) -> Iterator[PictureBatch]:
        """An epoch of batches; where the iterator is dropped, its workers end."""
        yield from self.loader

    def train(self, batches: Iterator[PictureBatch]) -> None:
        """Trains on some batches."""
        self.student.train()
        self.criterion.train()
        for batch in batches:
            self.step(batch)

    def step(self, batch: PictureBatch) -> float:
        """Trains on a batch, and gives its loss."""
        part = self.clock.part
        with part("data"):
            batch = PictureBatch(*(tensor.to(self.device) for tensor in batch))
        loss, logits = self.loss(batch)
        with part("optimizer"):
            self.optimizer.zero_grad()
        with part("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with part("optimizer"):
            self.optimizer.step()
        top1, top5 = accuracy(logits, batch.y)
        value = loss.item()
        self.losses.update(value, len(batch.y))
        self.top1.update(top1.item(), len(batch.y))
        self.top5.update(top5.item(), len(batch.y))
        return value

    def loss(self, batch: PictureBatch) -> tuple[Tensor, Tensor]:
        """The weighted loss and the student's logits."""
        part = self.clock.part
        with part("student_forward"):
            student, logits = with_features(self.student, batch.x)
        with part("teacher"), torch.no_grad():
            teacher, teacher_logits = with_features(self.teacher, batch.x)
        reference = None
        if self.reference is not None:
            with part("reference"), torch.no_grad():
                reference = self.reference(batch.x)
        with part("losses"):
            if self.method == "kd":
                distilled = soft_kl(logits, teacher_logits)
            elif self.method == "fitnet":
                distilled = F.mse_loss(self.criterion(student[HINT_LAYER]), teacher[HINT_LAYER])
            else:
                distilled = self.criterion(student[-1], teacher[-1], batch.sample, batch.contrast)
            ce_weight, method_weight = WEIGHTS[self.method]
            loss = ce_weight * F.cross_entropy(logits, batch.y) + method_weight * distilled
            if reference is not None:
                loss = loss + ANCHOR_WEIGHT * anchor_kl(logits, reference, batch.y)
        return loss, logits

    def _criterion(self, data: PictureData, feature_dim: int) -> nn.Module:
        """The modules that the method trains."""
        if self.method == "kd":
            return nn.Module()
        example = data[0].x.unsqueeze(0).to(self.device)
        training = self.student.training
        self.student.eval()
        with torch.no_grad():
            student, _ = with_features(self.student, example)
            teacher, _ = with_features(self.teacher, example)
        self.student.train(training)
        if self.method == "fitnet":
            return ConvReg(student[HINT_LAYER].shape[1], teacher[HINT_LAYER].shape[1])
        return CRDLoss(student[-1].shape[1], teacher[-1].shape[1], len(data), feature_dim)


def with_features(model: FeatureModel, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """All features, from the stem to the pooled vector, and the logits."""
    names = model.feature_names
    tensors = model.extract(x, (*names, "logits"))
    return [tensors[name] for name in names], tensors["logits"]
