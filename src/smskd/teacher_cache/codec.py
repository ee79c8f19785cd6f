"""From the teacher's outputs to the 16-bit numbers that are kept, and back."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

_SMALL = 2**15
"""So many classes are numbered with 16 bits."""


class Form(ABC):
    """What a row looks like.

    Attributes:
        width: of a row, in 16-bit numbers.
        name: says what the numbers mean.
    """

    width: int
    name: str

    @abstractmethod
    def packed(self, values: Tensor) -> Tensor:
        """Rows, int16 [N, ``width``], of outputs [N, any]."""

    @abstractmethod
    def unpacked(self, rows: Tensor) -> Tensor:
        """Outputs, float32, of rows; the same numbers whatever else has become of the rows in between."""


class Whole(Form):
    """All numbers of an output, as float16."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.name = "whole"

    def packed(self, values: Tensor) -> Tensor:
        return values.to(torch.float16).view(torch.int16)

    def unpacked(self, rows: Tensor) -> Tensor:
        return rows.view(torch.float16).float()


class Largest(Form):
    """The largest logits and the probability that is left for the other classes, each of which gets an equal part.

    Kept are the logits and the logarithm of the sum of the others' exponentials as float16, and the numbers of the
    classes. At temperature 1 the others' probability is right as a whole; at higher temperatures it is somewhat too
    large, because equal logits are the flattest of all that have this sum. After Shen and Xing, A Fast Knowledge
    Distillation Framework for Visual Recognition (ECCV 2022), where probabilities are kept and not logits, which tie
    them to one temperature.

    Args:
        classes: of the logits; more than ``top``.
        top: how many are kept.
    """

    def __init__(self, classes: int, top: int) -> None:
        self._classes, self._top = classes, top
        self._numbers = torch.int16 if classes <= _SMALL else torch.int32
        self.width = 2 * top + 1 if classes <= _SMALL else 3 * top + 1
        self.name = f"{top} largest"

    def packed(self, values: Tensor) -> Tensor:
        values = values.float()
        largest, places = values.topk(self._top, dim=1)
        rest = values.scatter(1, places, -torch.inf).logsumexp(1, keepdim=True)
        kept = torch.cat([largest, rest], dim=1).to(torch.float16).view(torch.int16)
        return torch.cat([kept, places.to(self._numbers).view(torch.int16)], dim=1)

    def unpacked(self, rows: Tensor) -> Tensor:
        kept = rows[:, : self._top + 1].contiguous().view(torch.float16).float()
        places = rows[:, self._top + 1 :].contiguous().view(self._numbers).long()
        equal = kept[:, -1:] - torch.tensor(float(self._classes - self._top)).log().item()
        return equal.expand(-1, self._classes).scatter(1, places, kept[:, :-1])
