"""How far the logits of a graph are from those of PyTorch, on test samples."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from smskd.builder.data import load_data
from smskd.builder.trust import is_builtin_source
from smskd.config.given import is_given
from smskd.data import Dataset, Images
from smskd.data.samples import Split, read_image
from smskd.deployment.graphs import Classifier, example_inputs
from smskd.deployment.student import Student
from smskd.errors import UserError
from smskd.interfaces.inputs import repeated

SAMPLES = 256
"""Test samples that are compared at most."""

TOLERANCE = 1e-3
"""Largest difference, relative to the largest logit, that rounding may explain."""

_BATCH = 64

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Deviation:
    """Of the logits of a graph from those of PyTorch.

    Attributes:
        samples: that were compared.
        source: ``test images``, ``test texts``, or random ones where there are none at hand.
        largest: absolute difference of two logits.
        magnitude: the largest absolute value of PyTorch's logits.
        same_class: number of samples for which both have the largest logit at the same class.
    """

    samples: int
    source: str
    largest: float
    magnitude: float
    same_class: int

    def __str__(self) -> str:
        return (
            f"the logits of {self.samples} {self.source} differ from PyTorch's by {self.largest:.2g} at most (largest "
            f"logit {self.magnitude:.3g}); the class is the same for {self.same_class} of them"
        )


@dataclass(frozen=True)
class Checked:
    """Samples on which graphs are compared.

    Attributes:
        inputs: of the graph, one row a sample.
        source: see :attr:`Deviation.source`.
        note: why these are no test samples; empty where they are.
    """

    inputs: Inputs
    source: str
    note: str = ""


def samples_of(student: Student, classifier: Classifier, *, trust: bool) -> Checked:
    """Test samples of the student's run, or random ones where the data are not at hand.

    Args:
        student: whose recipe names the data.
        classifier: whose inputs they will be.
        trust: whether a data source that does not come with the package is imported.
    """
    reason = "the run's data are not named in files"
    if student.recipe is not None and not is_given(student.recipe.data.source.name):
        try:
            if not (trust or is_builtin_source(student.recipe.data)):
                raise UserError("their source does not come with smskd (--trust)")
            return _of_test(student, classifier)
        except UserError as error:
            reason = str(error)
    example = example_inputs(student, classifier)
    return Checked(_random(example), "random inputs", f"not compared on test samples: {reason}")


def deviation(graph: Callable[[Inputs], Tensor], classifier: Classifier, checked: Checked, where: str) -> Deviation:
    """Compares a graph with PyTorch, on single samples and on batches.

    Args:
        graph: logits [N, classes] of inputs of N rows.
        classifier: PyTorch's.
        checked: samples.
        where: the file, for messages.

    Raises:
        UserError: the logits differ by more than rounding.
    """
    count = len(checked.inputs[0])
    bounds = [(0, 1), *((begin, min(begin + _BATCH, count)) for begin in range(1, count, _BATCH))]
    expected, found = [], []
    with torch.no_grad():
        for begin, end in bounds:
            rows = tuple(tensor[begin:end] for tensor in checked.inputs)
            expected.append(classifier(*rows).double())
            found.append(graph(rows).double())
    ours, theirs = torch.cat(expected), torch.cat(found)
    result = Deviation(
        samples=count,
        source=checked.source,
        largest=float((ours - theirs).abs().max()),
        magnitude=float(ours.abs().max()),
        same_class=int((ours.argmax(1) == theirs.argmax(1)).sum()),
    )
    if not result.largest <= TOLERANCE * max(1.0, result.magnitude):
        raise UserError(f"{where} is not written: {result}")
    return result


def _of_test(student: Student, classifier: Classifier) -> Checked:
    assert student.recipe is not None
    dataset = load_data(student.recipe.data)
    rows = torch.arange(min(SAMPLES, len(dataset.test)))
    if not isinstance(dataset, Dataset):
        if student.facts.fields is None:
            raise UserError("the data are texts, and the network takes images")
        texts = dataset.test.batch(rows)
        return Checked(tuple(texts[name] for name in classifier.names), "test texts")
    if dataset.shape != student.facts.image_shape:
        raise UserError("the test images have another size than those that the network learned from")
    images = _images(dataset.test, rows)
    if images.dtype == torch.uint8 and not classifier.normalises:
        assert student.preprocessing is not None
        images = student.preprocessing.normalised(images)
    return Checked((images,), "test images")


def _images(split: Split, rows: Tensor) -> Tensor:
    if isinstance(split, Images):
        return split.pixels[rows]
    return torch.stack([read_image(split, row) for row in rows.tolist()])


def _random(example: Inputs) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    if len(example) > 1 or not (example[0].is_floating_point() or example[0].dtype == torch.uint8):
        return tuple(repeated(tensor, _BATCH) for tensor in example)
    shape = (_BATCH, *example[0].shape[1:])
    if example[0].dtype == torch.uint8:
        return (torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),)
    return (torch.randn(shape, generator=generator),)
