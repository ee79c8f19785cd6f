"""Distillation as published code is usually written, the baseline of the benchmarks.

Images are cropped, flipped and normalized one at a time by torchvision, in the worker processes of a DataLoader. The
teacher computes all its features in every step, whichever of them the method reads. CRD draws its negatives sample by
sample in the data set and gathers a row of the memory bank for each. Losses and networks are those of smskd, so both
loops do the same work.
"""

import os
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from smskd.bench.baseline_data import ImageBatch, ImageDataset
from smskd.bench.baseline_losses import FEATURE_DIM, ConvReg, CRDLoss, anchor_kl, soft_kl
from smskd.interfaces.features import FeatureModel
from smskd.timing import Clock

METHODS = ("kd", "fitnet", "crd")
WORKERS = min(8, os.cpu_count() or 1)
HINT_LAYER = 2
ANCHOR_WEIGHT = 0.4

WEIGHTS = {"kd": (0.1, 0.9), "fitnet": (1.0, 100.0), "crd": (1.0, 0.8)}
"""The published weights of the cross-entropy and of the method."""


class AverageMeter:
    """A running mean over samples."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.count = 0

    def update(self, value: float, samples: int) -> None:
        """Adds a mean over some samples."""
        self.sum += value * samples
        self.count += samples


class BaselineLoop:
    """The training loop of one stage.

    Args:
        student: trained in place.
        teacher: frozen.
        method: ``kd``, ``fitnet`` or ``crd``.
        data: the training data.
        batch_size: samples of a step.
        reference: the frozen student of the stage before; None in the first stage.
        feature_dim: of the embeddings of CRD.
        device: of the training.
        workers: processes of the DataLoader.
        learning_rate, momentum, weight_decay: of SGD.
    """

    def __init__(
        self,
        student: FeatureModel,
        teacher: FeatureModel,
        method: str,
        data: ImageDataset,
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
        self.loader: DataLoader[ImageBatch] = DataLoader(data, batch_size=batch_size, shuffle=True, num_workers=workers)
        self.criterion = self._criterion(data, feature_dim).to(self.device)
        trained = nn.ModuleList([self.student, self.criterion])
        self.optimizer = torch.optim.SGD(
            trained.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
        )
        self.losses, self.top1, self.top5 = AverageMeter(), AverageMeter(), AverageMeter()

    def batches(self) -> Iterator[ImageBatch]:
        """The batches of an epoch; closing the iterator ends its worker processes."""
        yield from self.loader

    def train(self, batches: Iterator[ImageBatch]) -> None:
        """Makes a step with each batch."""
        self.student.train()
        self.criterion.train()
        for batch in batches:
            self.step(batch)

    def step(self, batch: ImageBatch) -> float:
        """Trains on a batch and returns its loss."""
        part = self.clock.part
        with part("data"):
            batch = ImageBatch(*(tensor.to(self.device) for tensor in batch))
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

    def loss(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """The weighted loss, a scalar, and the student's logits [N, classes]."""
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

    def _criterion(self, data: ImageDataset, feature_dim: int) -> nn.Module:
        """The modules of the method, trained with the student."""
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
    """All features in order, from the stem to the pooled vector, and the logits [N, classes]."""
    names = model.feature_names
    tensors = model.extract(x, (*names, "logits"))
    return [tensors[name] for name in names], tensors["logits"]


def accuracy(logits: Tensor, target: Tensor, topk: tuple[int, ...] = (1, 5)) -> list[Tensor]:
    """The top-k accuracy in percent, for each k; logits are [N, classes], the target is [N]."""
    _, predicted = logits.topk(min(max(topk), logits.shape[1]), dim=1)
    correct = predicted.t().eq(target.view(1, -1))
    return [correct[:k].reshape(-1).float().sum() * (100.0 / len(target)) for k in topk]
