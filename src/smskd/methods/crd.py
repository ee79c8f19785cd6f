r"""Contrastive representation distillation.

Paper: Tian, Krishnan, Isola: Contrastive Representation Distillation, ICLR 2020

arXiv: 1910.10699

Formula:
    L = \sum_{a \in \{s,t\}} -\frac{1}{N} \sum_i \left( \log \frac{P^a_{i0}}{P^a_{i0} + K/M + 10^{-7}}
        + \sum_{k=1}^{K} \log \frac{K/M}{P^a_{ik} + K/M + 10^{-7}} \right),
    P^s_{ik} = \exp(\langle m^t_{c(i,k)}, v^s_i \rangle / T) / Z^s,
    P^t_{ik} = \exp(\langle m^s_{c(i,k)}, v^t_i \rangle / T) / Z^t,
    v = W f + b \text{ divided by its norm},
    Z = M \, \mathrm{mean}(\exp(\cdot)) \text{ of the first batch},
    m_i \leftarrow \mu m_i + (1 - \mu) v_i \text{ divided by its norm}

Taps: the pooled vector that the classifier reads, of both models.

Shapes: features [N, ...], embeddings [N, D], memories [M, D] of all M training samples, contrast index
    [N, K + 1]: the rows of the memory that a sample is compared with, the positive in column 0.

Source: HobbitLong/RepDistiller, crd/criterion.py, crd/memory.py

Differences:
    - Z is set by the first batch, for each direction on its own, and never changes; it carries no gradient.
    - The student's embedding is compared with the teacher's memory and the teacher's with the student's.
      Both linear embeddings are trained.
    - The memories start uniform in +-sqrt(3 / D), not normalised. They are updated after the loss read them.
    - Negatives are samples of other classes, drawn without replacement for each sample, with replacement only
      where there are fewer than K. The positive is the sample itself (exact) or one of its class (relax).
    - The published norm has no epsilon and gives NaN for an embedding of zero; its gradient is zero here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.adapters import flat, linear_embedding, pooled_vectors
from smskd.errors import UserError, require_between, require_count, require_positive
from smskd.functional import full_precision, safe_normalize
from smskd.types import Batch, DataInfo, Kind, Layout, Method, Output, Side, Taps

EPSILON = 1e-7

GATHERED_COST = 40
"""What it costs to fetch a number of the memory by index, in numbers read in order by a matrix product."""

BLOCK = 64
"""How many neighbours of a shuffled pool are drawn together."""


@full_precision
def crd_scores(embedding: Tensor, memory: Tensor, contrast_index: Tensor, temperature: float) -> Tensor:
    """Logarithms of the unnormalised scores: inner products with the drawn rows of a memory, over T.

    Args:
        embedding: [N, D], unit vectors.
        memory: [M, D]; receives no gradient.
        contrast_index: [N, K + 1] int64 rows of the memory.
        temperature: T, positive.

    Returns:
        [N, K + 1].
    """
    memory = memory.detach()
    if len(memory) <= GATHERED_COST * contrast_index.shape[1]:
        return (embedding @ memory.T).gather(1, contrast_index) / temperature
    return torch.einsum("nkd,nd->nk", memory[contrast_index], embedding) / temperature


@full_precision
def crd_normalizer(scores: Tensor, samples: int) -> Tensor:
    """Z of a direction: the mean exponential of the first batch's scores, times the number of samples.

    Args:
        scores: [N, K + 1] of :func:`crd_scores`.
        samples: M, the training samples in the memory.

    Returns:
        A scalar without gradient.
    """
    scores = scores.detach()
    return (scores.logsumexp((0, 1)) + math.log(samples / scores.numel())).exp()


@full_precision
def crd_loss(
    embedding: Tensor,
    memory: Tensor,
    contrast_index: Tensor,
    temperature: float,
    normalizer: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Noise-contrastive loss of one direction: one model's embedding against the other's memory.

    Tian et al. 2020, arXiv 1910.10699; the sum of both directions is ``CRDLoss`` of HobbitLong/RepDistiller.

    Args:
        embedding: [N, D], unit vectors.
        memory: [M, D] of the other model; receives no gradient.
        contrast_index: [N, K + 1] int64 rows of the memory, column 0 the positive, the others negatives.
        temperature: T, positive.
        normalizer: Z, as the first call returned it; None in the first call.

    Returns:
        The scalar loss, averaged over the batch, and Z.
    """
    scores = crd_scores(embedding, memory, contrast_index, temperature)
    if normalizer is None:
        normalizer = crd_normalizer(scores, len(memory))
    negatives = contrast_index.shape[1] - 1
    noise = negatives / len(memory)
    # With x = log(P / (K/M + eps)): P / (P + K/M + eps) = sigmoid(x), and the negatives' ratio is sigmoid(-x)
    # up to a constant. A log-sigmoid holds for every score; an exponential would overflow at low temperature.
    x = scores - normalizer.log() - math.log(noise + EPSILON)
    sign = torch.where(torch.arange(negatives + 1, device=x.device) == 0, 1.0, -1.0).to(x.dtype)
    constant = negatives * math.log(noise / (noise + EPSILON))
    return -(F.logsigmoid(sign * x).sum() / len(x) + constant), normalizer


class Negatives(nn.Module):
    """Draws the rows of the memory that each sample is compared with.

    Args:
        labels: [M] int64, the class of each training sample.
        count: K, negatives for each sample.
        relax: whether the positive is any sample of the class.

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
            raise UserError("CRD contrasts samples of different classes; all training samples have the same")
        by_class = labels.argsort(stable=True)
        # Twice over: what follows a class, up to the class again, is then one run.
        self.register_buffer("samples_by_class", torch.cat([by_class, by_class]), persistent=False)
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("class_start", class_size.cumsum(0) - class_size, persistent=False)
        self.register_buffer("class_size", class_size, persistent=False)
        sizes = set((len(labels) - class_size[class_size > 0]).tolist())
        self._only_pool_size = sizes.pop() if len(sizes) == 1 else None
        self.generator = torch.Generator(labels.device).manual_seed(int(torch.randint(2**62, ())))

    def draw(self, index: Tensor) -> Tensor:
        """Rows to compare with.

        Args:
            index: [N] int64, the samples.

        Returns:
            [N, K + 1] int64: the positive, then K samples of other classes.
        """
        generator = self._generator_on(index.device)
        y = self.labels[index]
        start, size = self.class_start[y], self.class_size[y]
        pool = len(self.labels) - size
        rows = (start + size).unsqueeze(1) + self._ranks(pool, generator)
        return torch.cat([self._positive(index, start, size, generator), self.samples_by_class[rows]], dim=1)

    def _positive(self, index: Tensor, start: Tensor, size: Tensor, generator: torch.Generator) -> Tensor:
        if not self.relax:
            return index.unsqueeze(1)
        uniform = torch.rand(len(index), generator=generator, device=index.device, dtype=torch.float64)
        return self.samples_by_class[start + (uniform * size).long()].unsqueeze(1)

    def _ranks(self, pool: Tensor, generator: torch.Generator) -> Tensor:
        """[N, K]: for each sample K ranks in its pool of ``pool`` samples of other classes."""
        if self._only_pool_size is not None:
            return draw_subsets(len(pool), self._only_pool_size, self.count, generator)
        ranks = pool.new_empty(len(pool), self.count)
        for size in set(pool.tolist()):
            same = pool == size
            ranks[same] = draw_subsets(int(same.sum()), size, self.count, generator)
        return ranks

    def _generator_on(self, device: torch.device) -> torch.Generator:
        if self.generator.device.type != device.type:
            self.generator = torch.Generator(device).manual_seed(self.generator.initial_seed())
        return self.generator

    def get_extra_state(self) -> Tensor:
        """The state of the generator, a ByteTensor."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Draws go on where the saved ones stopped, if they were drawn on the same kind of device."""
        device = self.labels.device
        generator = torch.Generator(device).manual_seed(self.generator.initial_seed())
        state = state.cpu()
        if state.numel() == generator.get_state().numel():
            generator.set_state(state)
        self.generator = generator


def draw_subsets(subsets: int, pool: int, count: int, generator: torch.Generator) -> Tensor:
    """Random subsets of range(pool), one a row: each is uniform among all subsets of that size.

    The pool is shuffled once for all rows and cut into blocks, and each row takes random blocks. Whatever
    places of a shuffled pool are taken, their content is a uniform random subset; so each row by itself is
    distributed as if it were drawn alone, at the price of one shuffle, and of a random number a block instead
    of one a sample of the pool. Rows are not independent of each other, but as each takes blocks of its own,
    they overlap by about as much as independent ones would.

    Args:
        subsets: number of rows.
        pool: size of the pool.
        count: size of each subset; if there are fewer in the pool, rows are drawn with replacement.
        generator: of the device on which the result shall be.

    Returns:
        [subsets, count] int64.
    """
    device = generator.device
    if count > pool:
        return torch.randint(pool, (subsets, count), generator=generator, device=device)
    block = min(BLOCK, count)
    if math.ceil(count / block) > pool // block:
        block = 1
    shuffled = torch.randperm(pool, generator=generator, device=device)
    blocks = shuffled[: pool // block * block].view(-1, block)
    wanted = math.ceil(count / block)
    chosen = torch.rand(subsets, len(blocks), generator=generator, device=device).argsort(dim=1)[:, :wanted]
    return blocks[chosen].view(subsets, wanted * block)[:, :count]


class ContrastMemory(nn.Module):
    """The embeddings that CRD trains, and the memories of them that it compares with.

    Args:
        student_embedding: from the student's feature to [D].
        teacher_embedding: from the teacher's feature to [D].
        negatives: draws what is compared.
        samples: M, the training samples.
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
        for side in ("student", "teacher"):
            self.register_buffer(f"memory_{side}", torch.empty(samples, width).uniform_(-bound, bound))
            self.register_buffer(f"z_{side}", torch.tensor(-1.0))
        self._normalized = False
        self.register_load_state_dict_post_hook(_see_whether_normalized)  # type: ignore[no-untyped-call]

    def contrast(self, student: Tensor, teacher: Tensor, index: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """The losses of both directions; the first call sets both Z.

        Args:
            student: [N, D] unit vectors.
            teacher: [N, D] unit vectors.
            index: [N] int64, the samples.
            temperature: T.

        Returns:
            The loss of the student against the teacher's memory, and of the teacher against the student's.
        """
        contrast_index = self.negatives.draw(index)
        losses = []
        for embedding, memory, z in (
            (student, self.memory_teacher, self.z_student),
            (teacher, self.memory_student, self.z_teacher),
        ):
            known = z.clone() if self._normalized else None
            loss, normalizer = _differentiated(embedding, memory, contrast_index, temperature, known)
            z.copy_(normalizer)
            losses.append(loss)
        self._normalized = True
        return losses[0], losses[1]

    @torch.no_grad()
    def remember(self, index: Tensor, student: Tensor, teacher: Tensor, momentum: float) -> None:
        """Moves the rows of a batch towards its embeddings.

        Args:
            index: [N] int64 rows; where a sample occurs twice, one of the two stays.
            student: [N, D] unit vectors.
            teacher: [N, D] unit vectors.
            momentum: share of the old row.
        """
        for memory, embedding in ((self.memory_student, student), (self.memory_teacher, teacher)):
            moved = momentum * memory[index] + (1 - momentum) * embedding.to(memory.dtype)
            memory.index_copy_(0, index, safe_normalize(moved))


def _differentiated(
    embedding: Tensor, memory: Tensor, contrast_index: Tensor, temperature: float, normalizer: Tensor | None
) -> tuple[Tensor, Tensor]:
    """:func:`crd_loss` with its gradient taken at once, so that the memory may change before backward.

    Otherwise autograd would need a copy of the whole memory in every step.
    """
    if not (torch.is_grad_enabled() and embedding.requires_grad):
        return crd_loss(embedding, memory, contrast_index, temperature, normalizer)
    leaf = embedding.detach().requires_grad_()
    loss, normalizer = crd_loss(leaf, memory, contrast_index, temperature, normalizer)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.detach() + ((embedding - embedding.detach()) * gradient).sum(), normalizer


@full_precision
def _unit(embedding: Tensor) -> Tensor:
    return safe_normalize(embedding)


def _embedded(layer: nn.Linear, feature: Tensor) -> Tensor:
    return _unit(layer(flat(feature).to(layer.weight.dtype)))


def _see_whether_normalized(module: nn.Module, _: object) -> None:
    assert isinstance(module, ContrastMemory)
    module._normalized = bool(module.z_student > 0) and bool(module.z_teacher > 0)


@dataclass(frozen=True)
class CRD(Method):
    """Contrastive representation distillation: a sample's two features are told from other samples'.

    Attributes:
        feature_dim: width of the embeddings that are compared.
        negatives: samples of other classes that each sample is told from.
        temperature: divides the inner products of the embeddings.
        momentum: share of the old memory in an update.
        mode: the positive is the sample itself (exact) or any sample of its class (relax).
    """

    feature_dim: int = 128
    negatives: int = 16384
    temperature: float = 0.07
    momentum: float = 0.5
    mode: Literal["exact", "relax"] = "exact"

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 0.8

    def __post_init__(self) -> None:
        require_count(feature_dim=self.feature_dim, negatives=self.negatives)
        require_positive(temperature=self.temperature)
        require_between(0, 1, momentum=self.momentum)
        if self.mode not in ("exact", "relax"):
            raise UserError(f"mode must be exact or relax, not {self.mode}")

    def taps(self, student: Layout, teacher: Layout) -> Taps:
        """The pooled vectors of both models."""
        return pooled_vectors(student, teacher, "CRD")

    def build(self, student: Side, teacher: Side, data: DataInfo) -> nn.Module:
        """Two linear embeddings, two memories of all training samples, and what draws the negatives.

        Raises:
            UserError: the labels of the training samples are not known, or all the same.
        """
        if data.labels is None:
            raise UserError("CRD draws samples of other classes and needs the label of every training sample")
        return ContrastMemory(
            linear_embedding(student.shapes[0], self.feature_dim),
            linear_embedding(teacher.shapes[0], self.feature_dim),
            Negatives(data.labels, self.negatives, self.mode == "relax"),
            len(data.labels),
        )

    def loss(self, student: Output, teacher: Output, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``student`` and ``teacher``: the embedding of one against the memory of the other."""
        assert isinstance(state, ContrastMemory)
        if batch.index is None:
            raise UserError("CRD keeps a memory of every training sample and needs the batch's index")
        student_embedding = _embedded(state.embed_student, student.features[0])
        teacher_embedding = _embedded(state.embed_teacher, teacher.features[0])
        losses = state.contrast(student_embedding, teacher_embedding, batch.index, self.temperature)
        state.remember(batch.index, student_embedding, teacher_embedding, self.momentum)
        return dict(zip(("student", "teacher"), losses, strict=True))
