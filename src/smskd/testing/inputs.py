"""Random inputs of loss terms: the layouts of two small networks, and random outputs for a batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, Shape, Tap, TappedOutputs
from smskd.interfaces.inputs import take
from smskd.interfaces.terms import DataInfo, TermInputs

CLASSES = 5
SAMPLES = 40
LABELS = torch.arange(SAMPLES) % CLASSES
DATA = DataInfo(SAMPLES, CLASSES, batch_size=8, labels=LABELS)
NARROW = FeatureLayout(
    {"stem": (4, 8, 8), "stage1": (4, 8, 8), "stage2": (8, 4, 4), "stage3": (12, 2, 2), "pooled": (12,)}, CLASSES
)
WIDE = FeatureLayout(
    {"stem": (6, 8, 8), "stage1": (6, 8, 8), "stage2": (8, 4, 4), "stage3": (16, 2, 2), "pooled": (16,)}, CLASSES
)


def tapped_shapes(layout: FeatureLayout, taps: Sequence[Tap]) -> tuple[Shape, ...]:
    """The shapes of the tapped features, without the logits of the training view."""
    features = (tap for tap in taps if not tap.is_logits)
    return tuple((layout.classes,) if tap.feature == "logits" else layout.features[tap.feature] for tap in features)


def outputs(layout: FeatureLayout, taps: Sequence[Tap], make: Callable[[Shape], Tensor]) -> TappedOutputs:
    """The tapped outputs of a network of this layout; ``make`` gives [N, ...] for the shape of a sample."""
    features = tuple(make(shape) for shape in tapped_shapes(layout, taps))
    if any(tap.is_logits for tap in taps):
        return TappedOutputs(make((layout.classes,)), features)
    return TappedOutputs(features=features)


def random_outputs(
    layout: FeatureLayout, taps: Sequence[Tap], samples: int, generator: torch.Generator
) -> TappedOutputs:
    """Normally distributed outputs."""
    return outputs(layout, taps, lambda shape: torch.randn(samples, *shape, generator=generator))


def random_batch(reads: Reads, samples: int, generator: torch.Generator) -> Batch:
    """The first samples of the data, with the views that are read."""
    x = torch.randn(samples, 3, 8, 8, generator=generator)
    views = dict.fromkeys(reads.views, x + 0.1)
    return Batch(x, LABELS[:samples], torch.arange(samples), views=views)


def as_leaves(output: TappedOutputs) -> TappedOutputs:
    """The same outputs as leaves with gradient."""
    made = output.detached()
    for tensor in _tensors(made):
        tensor.requires_grad_()
    return made


def leaves(inputs: TermInputs) -> dict[str, Tensor]:
    """The student's outputs and weights by name."""
    named = {name: tensor for name, tensor in named_tensors(inputs).items() if tensor.requires_grad}
    return {f"the student's {name.removeprefix('student ')}": tensor for name, tensor in named.items()}


def named_tensors(inputs: TermInputs) -> dict[str, Tensor]:
    """All tensors that a loss reads."""
    x = inputs.batch.x
    tensors = {"labels": inputs.batch.y, **({"images": x} if isinstance(x, Tensor) else x)}
    for role in ("student", "teacher", "reference"):
        output: TappedOutputs = getattr(inputs, role)
        tensors[f"{role} logits"] = output.logits
        tensors |= {f"{role} feature {number}": feature for number, feature in enumerate(output.features)}
    tensors |= {f"student weight {name}": weight for name, weight in inputs.weights.items()}
    return tensors | {f"reference weight {name}": weight for name, weight in inputs.reference_weights.items()}


def selected(inputs: TermInputs, samples: Tensor) -> TermInputs:
    """The inputs of some of the samples, in the given order, without gradient.

    Args:
        inputs: of a batch.
        samples: [M] int64 positions in the batch.
    """
    batch = inputs.batch
    index = None if batch.index is None else batch.index[samples]
    views = {name: view[samples] for name, view in batch.views.items()}
    return replace(
        inputs,
        batch=Batch(take(batch.x, samples), batch.y[samples], index, batch.progress, views),
        student=_selected(inputs.student, samples),
        teacher=_selected(inputs.teacher, samples),
        reference=_selected(inputs.reference, samples),
        weights=_detached(inputs.weights),
    )


def _selected(output: TappedOutputs, samples: Tensor) -> TappedOutputs:
    logits = output.logits.detach()
    features = tuple(feature.detach()[samples] for feature in output.features)
    return TappedOutputs(logits[samples] if logits.numel() else logits, features)


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _tensors(output: TappedOutputs) -> Iterator[Tensor]:
    if output.logits.numel():
        yield output.logits
    yield from output.features
