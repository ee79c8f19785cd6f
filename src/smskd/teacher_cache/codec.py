"""Packs the teacher's outputs into rows of 16-bit numbers, and unpacks them."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from smskd.config.cache import CacheConfig
from smskd.interfaces.features import LOGITS, FeatureLayout

_INT16_CLASSES = 2**15
"""The largest number of classes whose indices fit into 16 bits."""


class Codec(ABC):
    """Packs one output of the teacher.

    Attributes:
        width: of a row, in 16-bit numbers.
    """

    width: int

    @abstractmethod
    def pack(self, values: Tensor) -> Tensor:
        """Rows, int16 [N, ``width``], of outputs [N, any]."""

    @abstractmethod
    def unpack(self, rows: Tensor) -> Tensor:
        """Outputs, float32, of rows; it depends on the rows alone."""


class AllValues(Codec):
    """All values of an output, as float16.

    Args:
        width: number of values of an output.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def pack(self, values: Tensor) -> Tensor:
        return values.to(torch.float16).view(torch.int16)

    def unpack(self, rows: Tensor) -> Tensor:
        return rows.view(torch.float16).float()


class TopLogits(Codec):
    """The largest logits, and the remaining probability, divided equally among the other classes.

    The logits and the logsumexp of the others are kept as float16, with the class indices. At temperature 1 the
    total probability of the others is exact but for rounding; at higher temperatures it is somewhat too large, since
    equal logits are the flattest of all that have this logsumexp. After Shen and Xing, A Fast Knowledge Distillation
    Framework for Visual Recognition (ECCV 2022), where probabilities are kept instead of logits, which binds them to
    one temperature.

    Args:
        classes: number of logits; more than ``top``.
        top: how many are kept.
    """

    def __init__(self, classes: int, top: int) -> None:
        self._classes, self._top = classes, top
        small = classes <= _INT16_CLASSES
        self._index_type = torch.int16 if small else torch.int32
        self.width = (2 if small else 3) * top + 1

    def pack(self, values: Tensor) -> Tensor:
        values = values.float()
        largest, classes = values.topk(self._top, dim=1)
        rest = values.scatter(1, classes, -torch.inf).logsumexp(1, keepdim=True)
        kept = torch.cat([largest, rest], dim=1).to(torch.float16).view(torch.int16)
        return torch.cat([kept, classes.to(self._index_type).view(torch.int16)], dim=1)

    def unpack(self, rows: Tensor) -> Tensor:
        kept = rows[:, : self._top + 1].contiguous().view(torch.float16).float()
        classes = rows[:, self._top + 1 :].contiguous().view(self._index_type).long()
        equal = kept[:, -1:] - torch.tensor(float(self._classes - self._top)).log().item()
        return equal.expand(-1, self._classes).scatter(1, classes, kept[:, :-1])


def codec_of(name: str, layout: FeatureLayout, options: CacheConfig) -> Codec:
    """The codec of an output: ``logits``, or a pooled feature of the layout."""
    if name != LOGITS:
        return AllValues(layout.features[name][0])
    if options.mode == "replay" and options.top < layout.classes:
        return TopLogits(layout.classes, options.top)
    return AllValues(layout.classes)
