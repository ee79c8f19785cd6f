"""From the taps of loss terms to the tensors they receive: each feature is read once for all terms."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, TRAIN_VIEW, FeatureLayout, FeatureModel, ModelInfo, Tap, TappedOutputs
from smskd.interfaces.inputs import Inputs


class Extractor(Protocol):
    """A model, or a compiled program that computes its features."""

    def extract(self, x: Any, names: Collection[str]) -> dict[str, Tensor]:
        """See :meth:`FeatureModel.extract`."""
        ...


def read(model: Extractor, batch: Batch, taps: Collection[Tap]) -> dict[Tap, Tensor]:
    """The tapped tensors of a batch. The model is run once on each view that is tapped."""
    tensors: dict[Tap, Tensor] = {}
    views = {tap.view for tap in taps}
    for view in sorted(views, key=lambda name: (name != TRAIN_VIEW, name)):
        names = {tap.name: tap for tap in taps if tap.view == view}
        found = model.extract(_inputs(batch, view), names.keys())
        tensors |= {tap: found[name] for name, tap in names.items()}
    return tensors


def read_teacher(model: Extractor, batch: Batch, taps: Collection[Tap]) -> dict[Tap, Tensor]:
    """:func:`read` of the teacher, which may be given other images than the student."""
    return read(model, for_teacher(batch), taps)


def for_teacher(batch: Batch) -> Batch:
    """The batch with the images that the teacher is given."""
    return batch if batch.teacher_images is batch.x else replace(batch, x=batch.teacher_images)


def tapped_outputs(tensors: Mapping[Tap, Tensor], taps: Sequence[Tap]) -> TappedOutputs:
    """The tensors of one term in the order of its taps."""
    features = tuple(tensors[tap] for tap in taps if not tap.is_logits)
    logits = next((tensors[tap] for tap in taps if tap.is_logits), None)
    return TappedOutputs(torch.empty(0) if logits is None else logits, features)


def model_info(model: FeatureModel, layout: FeatureLayout, taps: Sequence[Tap]) -> ModelInfo:
    """What a term may know of a model when it builds its modules."""
    features = [tap.feature for tap in taps if not tap.is_logits]
    shapes = tuple((layout.classes,) if name == LOGITS else layout.features[name] for name in features)
    norms = tuple(None if name == LOGITS else model.norm_before_relu(name) for name in features)
    return ModelInfo(shapes, layout.classes, model.classifier, norms, model.family, layout.mean_pooled)


def _inputs(batch: Batch, view: str) -> Inputs:
    if view == TRAIN_VIEW:
        return batch.x
    if view not in batch.views:
        raise UserError(f"a loss term reads the view '{view}' of the images, and the batch has no view of this name")
    return batch.views[view]
