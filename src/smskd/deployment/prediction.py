"""The classes that a student predicts for images or texts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from smskd.data.sources.image_decoding import MAX_PIXELS
from smskd.data.sources.image_files import read_file
from smskd.data.sources.tokenizers import Tokenizer
from smskd.data.texts import Texts
from smskd.deployment.image_inputs import image_paths
from smskd.deployment.student import Student, longest_text, open_student
from smskd.errors import UserError
from smskd.interfaces.inputs import Inputs, mapped_inputs
from smskd.training.globals import preserved_globals
from smskd.training.host import device_of

BATCH = 64
TOP = 5


@dataclass(frozen=True)
class ClassProbability:
    """A class and its probability.

    Attributes:
        index: of the class, in the order of the logits.
        name: of the class; its number where the data had no names.
        probability: by the softmax of the logits.
    """

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """Of an image or a text.

    Attributes:
        source: the file, or the text.
        classes: the most probable ones, the most probable first.
    """

    source: str
    classes: tuple[ClassProbability, ...]


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read, and why, in one line that names it."""

    source: str
    reason: str


def predict(
    path: str | Path,
    inputs: Sequence[str | Path],
    *,
    top: int = TOP,
    device: str = "auto",
    model: nn.Module | None = None,
    trust: bool = False,
) -> list[Prediction]:
    """The classes that a student predicts, as ``smskd predict`` does.

    Images are brought to the network's input exactly as the test images of its run were; one of another size is
    resized.

    Args:
        path: the folder of a run, a file of weights in it, or an exported folder.
        inputs: image files, folders with images and patterns such as ``photos/*.jpg``; for a network of texts, texts.
        top: number of classes for each.
        device: ``auto``, ``cpu``, ``cuda``, ...
        model: the network, where a program has made it; it is not copied.
        trust: whether Python objects that the files name are imported.

    Raises:
        UserError: there is no such student, its preprocessing is not known, or an image cannot be read.
    """
    student = open_student(path, model=model, trust=trust)
    found = []
    for prediction in predictions(student, inputs, top=top, device=device):
        if isinstance(prediction, Unreadable):
            raise UserError(prediction.reason)
        found.append(prediction)
    return found


def predictions(
    student: Student, inputs: Sequence[str | Path], *, top: int = TOP, device: str = "auto"
) -> Iterator[Prediction | Unreadable]:
    """The predictions, one after the other, in the order of the inputs; the arguments are those of :func:`predict`.

    Raises:
        UserError: the preprocessing is not known, or there is no such file.
    """
    if top < 1:
        raise UserError(f"top is {top}; it has to be 1 or more")
    if not inputs:
        raise UserError("nothing is to be predicted: name images")
    place = device_of(device)
    with preserved_globals():
        student.model.to(place)
        if student.reads_texts:
            yield from _of_texts(student, [str(text) for text in inputs], top, place)
        else:
            yield from _of_images(student, image_paths(inputs), top, place)


def _of_images(
    student: Student, paths: Sequence[Path], top: int, device: torch.device
) -> Iterator[Prediction | Unreadable]:
    prepared = student.preprocessing
    if prepared is None:
        raise UserError(
            f"{student.weights}: the images of its run were floats, by transforms of their data set; only these know "
            "how an image is brought to the network: predict with smskd.load in Python"
        )
    for begin in range(0, len(paths), BATCH):
        some = paths[begin : begin + BATCH]
        read: list[Tensor | Unreadable] = []
        for path in some:
            try:
                read.append(prepared.pixels(read_file(str(path), MAX_PIXELS), str(path)))
            except UserError as error:
                read.append(Unreadable(str(path), str(error)))
        pixels = [image for image in read if isinstance(image, Tensor)]
        images = prepared.normalised(torch.stack(pixels).to(device)) if pixels else None
        classes = iter([] if images is None else _classes(student, images, top))
        for path, image in zip(some, read, strict=True):
            yield image if isinstance(image, Unreadable) else Prediction(str(path), next(classes))


def _of_texts(student: Student, texts: Sequence[str], top: int, device: torch.device) -> Iterator[Prediction]:
    if student.tokenizer is None:
        raise UserError(f"{student.weights}: the tokenizer of its run is not known; predict with smskd.load in Python")
    tokenizer = Tokenizer.load(student.tokenizer, "tokenizer")
    if student.facts.tokenizer not in (None, tokenizer.digest):
        raise UserError(
            f"{student.tokenizer} is another tokenizer than that of the texts that the network learned from"
        )
    fields = tokenizer.fields(texts, None, longest_text(student, tokenizer))
    data = Texts(fields, torch.zeros(len(texts), dtype=torch.int64), student.class_names)
    for begin in range(0, len(texts), BATCH):
        some = texts[begin : begin + BATCH]
        batch = data.batch(torch.arange(begin, begin + len(some)))
        inputs = mapped_inputs(batch, lambda tensor: tensor.to(device))
        for text, classes in zip(some, _classes(student, inputs, top), strict=True):
            yield Prediction(text, classes)


def _classes(student: Student, inputs: Inputs, top: int) -> Iterable[tuple[ClassProbability, ...]]:
    with torch.no_grad():
        probabilities = student.model(inputs).float().softmax(dim=1).cpu()
    names = student.class_names
    best = probabilities.topk(min(top, probabilities.shape[1]), dim=1)
    for values, indices in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        yield tuple(ClassProbability(index, names[index], value) for index, value in zip(indices, values, strict=True))
