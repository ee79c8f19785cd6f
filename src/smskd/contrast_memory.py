"""The memories of contrastive methods: an embedding of every training sample, of student and teacher."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from smskd.functional import full_precision, safe_normalize
from smskd.negatives import Negatives, Shared

GATHERED_COST = 40
"""What it costs to fetch a number of the memory by index, in numbers read in order by a matrix product."""


@full_precision
def memory_scores(
    embedding: Tensor, memory: Tensor, contrast: Shared | Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Logarithms of the unnormalised scores: inner products with the drawn rows of a memory, over T.

    Args:
        embedding: [N, D], unit vectors.
        memory: [M, D]; receives no gradient.
        contrast: rows of the memory: [N, K + 1] int64, the positive first, or shared ones.
        temperature: T, positive.

    Returns:
        Of the positives [N], and of the negatives [N, K]; of P shared rows [N, P], -inf where a sample does not take
        one.
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

    def normalizer(self, direction: Literal["student", "teacher"]) -> Tensor | None:
        """Z of a direction; None before the first batch."""
        return self.get_buffer(f"z_{direction}").clone() if self._normalized else None

    def set_normalizers(self, student: Tensor, teacher: Tensor) -> None:
        """Keeps Z of both directions."""
        self.z_student.copy_(student)
        self.z_teacher.copy_(teacher)
        self._normalized = True

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


def _see_whether_normalized(module: nn.Module, _: object) -> None:
    assert isinstance(module, ContrastMemory)
    module._normalized = bool(module.z_student > 0) and bool(module.z_teacher > 0)
