"""The network of a student as a function of tensors, for graphs that other programs run."""

import torch
from torch import Tensor, nn

from smskd.data.augment.crop_flip import affine
from smskd.deployment.student import Student
from smskd.errors import UserError
from smskd.interfaces.inputs import Inputs
from smskd.models.calling import called
from smskd.models.module_outputs import logits_of

IMAGES = "images"
LOGITS = "logits"


class Classifier(nn.Module):
    """The logits [N, classes] of a network whose inputs are given one after the other.

    Args:
        network: the student's.
        names: of its inputs; a single one are images.
        affine: scale and shift [channels, 1, 1] of bytes, which normalise them; None: they are normalised already.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...], affine: tuple[Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.network = network
        self.names = names
        self.normalises = affine is not None
        if affine is not None:
            self.scale = nn.Buffer(affine[0].clone())
            self.shift = nn.Buffer(affine[1].clone())

    def forward(self, *inputs: Tensor) -> Tensor:
        """Of images [N, channels, height, width], float32, or uint8 where they are normalised here; or of the tensors
        by name, in order."""
        x: Inputs = inputs[0] if self.names == (IMAGES,) else dict(zip(self.names, inputs, strict=True))
        if self.normalises:
            x = inputs[0].to(torch.float32) * self.scale + self.shift
        return logits_of(called(self.network, self.network, x))


def classifier_of(student: Student, *, with_preprocessing: bool) -> Classifier:
    """The function of a student, in eval mode.

    Args:
        student: its network is not copied.
        with_preprocessing: whether images are bytes, which are normalised in the graph.

    Raises:
        UserError: the preprocessing is wanted and not known.
    """
    names = input_names(student)
    if not with_preprocessing:
        return Classifier(student.module, names).eval()
    if student.preprocessing is None:
        kind = (
            "the network takes texts" if student.reads_texts else "the data set gave floats, by transforms of its own"
        )
        raise UserError(f"the preprocessing cannot be put into the graph: {kind}")
    return Classifier(
        student.module, names, affine(student.preprocessing.mean, student.preprocessing.std, torch.device("cpu"))
    ).eval()


def input_names(student: Student) -> tuple[str, ...]:
    """The names of the inputs of the graph: ``images``, or the tensors of texts that the network is given."""
    if isinstance(student.example, Tensor):
        return (IMAGES,)
    return tuple(student.example)


def example_inputs(student: Student, classifier: Classifier) -> tuple[Tensor, ...]:
    """Inputs of two samples, with which the graph is traced."""
    example = student.example
    if isinstance(example, Tensor):
        return (example.to(torch.uint8) if classifier.normalises else example,)
    return tuple(example[name] for name in classifier.names)
