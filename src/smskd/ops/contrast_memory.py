"""The memory banks of contrastive methods: student and teacher embeddings of every training sample."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.ops.geometry import safe_normalize
from smskd.ops.precision import full_precision
from smskd.ops.random_rows import distinct_rows, rows_for

_MANY = 2**62
"""Range of the random integers, so large that their remainder modulo the size of a data set is uniform."""


@dataclass(frozen=True)
class Shared:
    """Negatives of the samples of a batch, chosen from rows of the memory that all of them share.

    Attributes:
        positive: [N] int64, the row of each sample's positive.
        rows: [P] int64, rows in random order.
        left_out: [P, N] bool, whether a row is excluded from a sample's negatives; all but K are.
        count: K.
    """

    positive: Tensor
    rows: Tensor
    left_out: Tensor
    count: int


class Negatives(nn.Module):
    """Draws the rows of the memory that each sample is contrasted with.

    For each batch random training samples are drawn, enough for every class, and each sample takes the first K of other
    classes. The negatives of a sample are thus a uniform random subset, as if drawn for it alone, while the whole batch
    reads the same rows.

    Args:
        labels: [M] int64, the class of each training sample.
        count: K, negatives per sample.
        relax: whether the positive is any sample of the same class, not the sample itself.

    Raises:
        UserError: all samples are of one class.
    """

    labels: Tensor
    samples_by_class: Tensor
    class_start: Tensor
    class_size: Tensor

    def __init__(self, labels: Tensor, count: int, relax: bool) -> None:
        super().__init__()
        self.count = count
        self.relax = relax
        class_size = labels.bincount()
        if (class_size > 0).sum() < 2:
            raise UserError("negatives are samples of other classes, and all training samples have the same class")
        self.register_buffer("samples_by_class", labels.argsort(stable=True), persistent=False)
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("class_start", class_size.cumsum(0) - class_size, persistent=False)
        self.register_buffer("class_size", class_size, persistent=False)
        self._largest_class = int(class_size.max())
        self._shared_rows = rows_for(count, self._largest_class, len(labels))
        self.generator = torch.Generator(labels.device).manual_seed(int(torch.randint(2**62, ())))

    def draw(self, index: Tensor) -> Shared | Tensor:
        """Draws positives and negatives.

        Args:
            index: [N] int64, the samples.

        Returns:
            Negatives from shared rows. Where fewer than K samples lie outside of some class: rows drawn for each
            sample, [N, K + 1] int64, the positive first, then K samples of other classes, with replacement where there
            are fewer than K.
        """
        generator = self._generator_on(index.device)
        positive = self._positive(index, generator)
        if len(self.labels) - self._largest_class < self.count:
            return torch.cat([positive.unsqueeze(1), self._own(index, generator)], dim=1)
        rows = distinct_rows(len(self.labels), self._shared_rows, generator, index.device)
        left_out = self.labels[rows].unsqueeze(1) == self.labels[index]
        # A sample takes all rows of other classes among the first K, and the missing ones from the rows that follow.
        lacking, rest = left_out[: self.count].sum(0), left_out[self.count :]
        rest |= (~rest).cumsum(0) > lacking
        return Shared(positive, rows, left_out, self.count)

    def _positive(self, index: Tensor, generator: torch.Generator) -> Tensor:
        if not self.relax:
            return index
        y = self.labels[index]
        drawn = torch.randint(_MANY, index.shape, generator=generator, device=index.device)
        return self.samples_by_class[self.class_start[y] + drawn % self.class_size[y]]

    def _own(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """[N, K] rows drawn for each sample, with replacement where there are fewer than K."""
        samples, y = len(self.labels), self.labels[index]
        first, size = self.class_start[y] + self.class_size[y], samples - self.class_size[y]
        drawn = torch.randint(_MANY, (len(index), self.count), generator=generator, device=index.device)
        ranks = drawn % size.unsqueeze(1)
        for sample in (size >= self.count).nonzero().flatten().tolist():
            ranks[sample] = torch.randperm(int(size[sample]), generator=generator, device=index.device)[: self.count]
        # Sorted by class, cyclically, the samples after a class up to the class again are those of other classes.
        return self.samples_by_class[(first.unsqueeze(1) + ranks) % samples]

    def _generator_on(self, device: torch.device) -> torch.Generator:
        if self.generator.device.type != device.type:
            self.generator = torch.Generator(device).manual_seed(self.generator.initial_seed())
        return self.generator

    def get_extra_state(self) -> Tensor:
        """The state of the generator: a ByteTensor."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restores the generator, if its state was saved on the same kind of device."""
        device = self.labels.device
        generator = torch.Generator(device).manual_seed(self.generator.initial_seed())
        state = state.cpu()
        if state.numel() == generator.get_state().numel():
            generator.set_state(state)
        self.generator = generator


GATHERED_COST = 40
"""Cost of an element of the memory gathered by index, in elements read sequentially by a matrix product."""


@full_precision
def memory_scores(
    embedding: Tensor, memory: Tensor, contrast: Shared | Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Logarithms of the unnormalised scores: inner products with the drawn rows of a memory, divided by T.

    Args:
        embedding: [N, D], unit vectors.
        memory: [M, D]; receives no gradient.
        contrast: rows of the memory: [N, K + 1] int64, the positive first, or shared rows.
        temperature: T, positive.

    Returns:
        The scores of the positives [N] and of the negatives [N, K]; for P shared rows [N, P], with -inf where a row is
        not a negative of the sample.
    """
    memory, scaled = memory.detach(), embedding / temperature
    if isinstance(contrast, Shared):
        positive = contrast.positive
        scores = memory.index_select(0, contrast.rows) @ scaled.T
        negative = scores.masked_fill_(contrast.left_out, -math.inf).T
    else:
        positive, rows = contrast[:, 0], contrast[:, 1:]
        if len(memory) <= GATHERED_COST * contrast.shape[1]:
            negative = (scaled @ memory.T).gather(1, rows)
        else:
            negative = torch.einsum("nkd,nd->nk", memory[rows], scaled)
    return (scaled * memory[positive]).sum(1), negative


class ContrastMemory(nn.Module):
    """The trained embeddings of CRD and the memory banks that they are contrasted with.

    Args:
        student_embedding: from the student's feature to [D].
        teacher_embedding: from the teacher's feature to [D].
        negatives: draws positives and negatives.
        samples: M, the number of training samples.
    """

    memory_student: Tensor
    memory_teacher: Tensor
    z_student: Tensor
    z_teacher: Tensor

    def __init__(
        self, student_embedding: nn.Linear, teacher_embedding: nn.Linear, negatives: Negatives, samples: int
    ) -> None:
        super().__init__()
        self.embed_student = student_embedding
        self.embed_teacher = teacher_embedding
        self.negatives = negatives
        width = student_embedding.out_features
        bound = math.sqrt(3 / width)
        for role in ("student", "teacher"):
            self.register_buffer(f"memory_{role}", torch.empty(samples, width).uniform_(-bound, bound))
            self.register_buffer(f"z_{role}", torch.tensor(-1.0))
        self._normalized = False
        self.register_load_state_dict_post_hook(_restore_normalized)  # type: ignore[no-untyped-call]

    def normalizer(self, direction: Literal["student", "teacher"]) -> Tensor | None:
        """Z of a direction; None before the first batch."""
        return self.get_buffer(f"z_{direction}").clone() if self._normalized else None

    def set_normalizers(self, student: Tensor, teacher: Tensor) -> None:
        """Stores Z of both directions, scalars."""
        self.z_student.copy_(student)
        self.z_teacher.copy_(teacher)
        self._normalized = True

    @torch.no_grad()
    def remember(self, index: Tensor, student: Tensor, teacher: Tensor, momentum: float) -> None:
        """Updates the rows of a batch: a moving average of its embeddings, normalised again.

        Args:
            index: [N] int64 rows; of a sample that occurs several times, the last update remains.
            student: [N, D] unit vectors.
            teacher: [N, D] unit vectors.
            momentum: weight of the previous row, in [0, 1].
        """
        # Equal rows for equal indices: which one of different rows would be written last is undefined on a GPU.
        place = torch.arange(len(index), device=index.device)
        last = torch.where(index[:, None] == index, place, 0).amax(1)
        for memory, embedding in ((self.memory_student, student), (self.memory_teacher, teacher)):
            moved = momentum * memory[index] + (1 - momentum) * embedding.to(memory.dtype)[last]
            memory.index_copy_(0, index, safe_normalize(moved))


def _restore_normalized(module: nn.Module, _: object) -> None:
    assert isinstance(module, ContrastMemory)
    module._normalized = bool(module.z_student > 0) and bool(module.z_teacher > 0)
