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

Reads: the pooled vectors of both models, which their classifiers read.

Shapes: features [N, ...], embeddings [N, D], memories [M, D] of all M training samples, contrast index
    [N, K + 1]: the rows of the memory that a sample is contrasted with, the positive in column 0.

Source: HobbitLong/RepDistiller, crd/criterion.py, crd/memory.py

Differences:
    - Z is set by the first batch, separately for each direction, and never changes; it carries no gradient.
    - The student's embedding is contrasted with the teacher's memory and the teacher's with the student's. Both
      linear embeddings are trained.
    - The memories are initialised uniformly in +-sqrt(3 / D), not normalised. They are updated after the loss has
      read them.
    - Negatives are samples of other classes, drawn without replacement, with replacement only where there are
      fewer than K. In the published code every sample of a batch draws its own; here the samples of a batch
      share random training samples in random order, of which each takes the first K of other classes, which is
      a uniform random subset too. The positive is the sample itself (exact) or one of its class (relax).
    - The published norm has no epsilon and gives NaN for an embedding of zero; its gradient is zero here.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_between, require_count, require_positive
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, LabelUse, Method, TermInputs
from smskd.ops.contrast_memory import ContrastMemory, Negatives, Shared, memory_scores
from smskd.ops.geometry import safe_normalize
from smskd.ops.layers import flat, linear_embedding
from smskd.ops.nce import shared_softplus_sum, softplus_sum
from smskd.ops.pairing import pooled_vectors
from smskd.ops.precision import differentiated, full_precision
from smskd.ops.reduction import Reduction, reduced

EPSILON = 1e-7


@full_precision
def crd_normalizer(positive: Tensor, negative: Tensor, samples: int) -> Tensor:
    """Z of a direction: the mean of the exponential scores of the first batch, times the number of training samples.

    Args:
        positive: [N], of :func:`smskd.ops.contrast_memory.memory_scores`.
        negative: [N, K] or [N, P], of the same.
        samples: M, the number of training samples in the memory.

    Returns:
        A scalar without gradient.
    """
    scores = torch.cat([positive.detach(), negative.detach().flatten()])
    compared = (scores != -math.inf).sum().to(scores.dtype)
    return samples * (scores.logsumexp(0) - compared.log()).exp()


@full_precision
def crd_loss(
    embedding: Tensor,
    memory: Tensor,
    contrast: Shared | Tensor,
    temperature: float,
    normalizer: Tensor | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """Noise-contrastive loss of one direction: the embedding of one model against the memory of the other.

    Tian et al. 2020, arXiv 1910.10699; the sum of both directions is ``CRDLoss`` of HobbitLong/RepDistiller.

    Args:
        embedding: [N, D], unit vectors.
        memory: [M, D] of the other model; receives no gradient.
        contrast: rows of the memory that a sample is contrasted with: [N, K + 1] int64, column 0 the positive, the
            others negatives; or negatives from shared rows.
        temperature: T, positive.
        normalizer: Z, as the first call returned it; None in the first call.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        The loss, a scalar or [N], and Z, a scalar.
    """
    if normalizer is None:
        with torch.no_grad():
            normalizer = crd_normalizer(*memory_scores(embedding, memory, contrast, temperature), len(memory))
    negatives = contrast.count if isinstance(contrast, Shared) else contrast.shape[1] - 1
    noise = negatives / len(memory)
    # With x = log(P / (K/M + eps)): P / (P + K/M + eps) = sigmoid(x), and the negatives' ratio is sigmoid(-x)
    # up to a constant; -log(sigmoid(x)) = softplus(-x), which does not overflow at low temperatures.
    shift = normalizer.log() + math.log(noise + EPSILON)
    if isinstance(contrast, Shared):
        scaled = embedding / temperature
        positive = (scaled * memory.detach()[contrast.positive]).sum(1)
        of_negatives = shared_softplus_sum(scaled, memory, contrast, shift)
    else:
        positive, negative = memory_scores(embedding, memory, contrast, temperature)
        of_negatives = softplus_sum(negative - shift)
    constant = negatives * math.log(noise / (noise + EPSILON))
    of_positives = softplus_sum((shift - positive).unsqueeze(1))
    return reduced(of_positives + of_negatives - constant, reduction), normalizer


@full_precision
def _unit(embedding: Tensor) -> Tensor:
    return safe_normalize(embedding)


def _embedded(layer: nn.Linear, feature: Tensor) -> Tensor:
    return _unit(layer(flat(feature).to(layer.weight.dtype)))


@dataclass(frozen=True)
class CRD(Method):
    """Contrastive representation distillation: the two features of a sample are discriminated from those of others.

    Attributes:
        feature_dim: width of the embeddings that are contrasted.
        negatives: number of samples of other classes that each sample is contrasted with.
        temperature: divides the inner products of the embeddings.
        momentum: weight of the previous memory in an update.
        mode: the positive is the sample itself (exact) or any sample of its class (relax).
    """

    feature_dim: int = 128
    negatives: int = 16384
    temperature: float = 0.07
    momentum: float = 0.5
    mode: Literal["exact", "relax"] = "exact"

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 0.8
    relates_samples: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(feature_dim=self.feature_dim, negatives=self.negatives)
        require_positive(temperature=self.temperature)
        require_between(0, 1, momentum=self.momentum)
        if self.mode not in ("exact", "relax"):
            raise UserError(f"mode must be exact or relax, not {self.mode}")

    @property
    def label_use(self) -> LabelUse:
        """One class for each sample: negatives are samples of other classes."""
        return "hard"

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The pooled vectors of both models."""
        return pooled_vectors(student, teacher, "CRD")

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """Two linear embeddings, two memories of all training samples, and the sampler of the negatives.

        Raises:
            UserError: the labels of the training samples are not known, or all the same.
        """
        assert teacher is not None
        if data.labels is None:
            raise UserError(
                "CRD draws samples of other classes and needs the label of every training sample: give the data set a "
                "list of them as targets or labels"
            )
        return ContrastMemory(
            linear_embedding(student.shapes[0], self.feature_dim),
            linear_embedding(teacher.shapes[0], self.feature_dim),
            Negatives(data.labels, self.negatives, self.mode == "relax"),
            len(data.labels),
        )

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``student`` and ``teacher``: the embedding of one against the memory of the other, [N].

        Raises:
            UserError: the batch has no index.
        """
        assert isinstance(state, ContrastMemory)
        index = inputs.batch.index
        if index is None:
            raise UserError("CRD keeps a memory of every training sample and needs the index of the batch")
        contrast = state.negatives.draw(index)
        student = _embedded(state.embed_student, inputs.student.features[0])
        teacher = _embedded(state.embed_teacher, inputs.teacher.features[0])
        results = []
        for embedding, memory, z in (
            (student, state.memory_teacher, state.normalizer("student")),
            (teacher, state.memory_student, state.normalizer("teacher")),
        ):
            loss = partial(
                crd_loss,
                memory=memory,
                contrast=contrast,
                temperature=self.temperature,
                normalizer=z,
                reduction="none",
            )
            results.append(differentiated(loss, embedding))
        (of_student, z_student), (of_teacher, z_teacher) = results
        state.set_normalizers(z_student, z_teacher)
        state.remember(index, student, teacher, self.momentum)
        return {"student": of_student, "teacher": of_teacher}
