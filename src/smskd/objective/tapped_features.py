"""From the taps of methods to the tensors they receive: names grouped by view, each read once for all methods."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureLayout, FeatureModel, ModelInfo, TappedOutputs

_VIEW = "@"


def views(names: Collection[str]) -> frozenset[str]:
    """The views, beside the batch's own pictures, that taps ask for."""
    return frozenset(name.partition(_VIEW)[2] for name in names if _VIEW in name)


class Readable(Protocol):
    """A model, or what computes the features of one."""

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """See :meth:`FeatureModel.extract`."""
        ...


def read(model: Readable | None, batch: Batch, names: Collection[str]) -> dict[str, Tensor]:
    """The tapped tensors of a batch by their tap. A model is not run on a view of which nothing is tapped."""
    if model is None:
        return {}
    tensors: dict[str, Tensor] = {}
    for view in ("", *sorted(views(names))):
        wanted = {name.partition(_VIEW)[0]: name for name in names if name.partition(_VIEW)[2] == view}
        if wanted:
            x = batch.x if not view else _view(batch, view)
            found = model.extract(x, wanted.keys())
            tensors |= {tap: found[name] for name, tap in wanted.items()}
    return tensors


def output(tensors: Mapping[str, Tensor], taps: Sequence[str]) -> TappedOutputs:
    """The tensors of one method in the order of its taps."""
    features = tuple(tensors[name] for name in taps if name != LOGITS)
    return TappedOutputs(tensors[LOGITS] if LOGITS in taps else torch.empty(0), features)


def side(model: FeatureModel, layout: FeatureLayout, taps: Sequence[str]) -> ModelInfo:
    """What a method may know of a model when it builds its modules."""
    features = [name.partition(_VIEW)[0] for name in taps if name != LOGITS]
    shapes = [(layout.classes,) if name == LOGITS else layout.features[_base(name)] for name in features]
    norms = [model.norm_before_relu(_base(name)) for name in features]
    return ModelInfo(tuple(shapes), layout.classes, model.classifier, tuple(norms), type(model.wrapped).__name__)


def _view(batch: Batch, name: str) -> Tensor:
    if name not in batch.views:
        raise UserError(f"a method reads the view '{name}' of the pictures, and the batch has none of this name")
    return batch.views[name]


def _base(name: str) -> str:
    return name.removesuffix(PREACTIVATION)
