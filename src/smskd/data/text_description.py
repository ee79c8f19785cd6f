"""What a data set of texts holds: texts by class, their lengths in tokens, texts that occur twice."""

from collections import Counter
from dataclasses import dataclass

import torch

from smskd.data.text_dataset import TextDataset
from smskd.data.texts import Texts


@dataclass(frozen=True)
class TextPart:
    """One part of a data set of texts.

    Attributes:
        texts: number of texts.
        class_counts: of each class, its texts.
        shortest, mean, longest: number of tokens of a text, those that a tokenizer adds included.
        at_limit: texts as long as the longest that there can be, which may have been cut off.
        repeated: texts that occur earlier in the part.
        memory: bytes that token ids and labels take in memory.
    """

    texts: int
    class_counts: tuple[int, ...]
    shortest: int
    mean: float
    longest: int
    at_limit: int
    repeated: int
    memory: int


@dataclass(frozen=True)
class TextDescription:
    """A data set of texts.

    Attributes:
        class_names: one name per class.
        parts: ``train``, ``validation`` where there is one, and ``test``.
        shared: of ``validation`` and ``test``, the texts that are among the training texts.
        tensors: names of the tensors of a sample.
    """

    class_names: tuple[str, ...]
    parts: dict[str, TextPart]
    shared: dict[str, int]
    tensors: tuple[str, ...]


def describe_texts(dataset: TextDataset) -> TextDescription:
    """Describes a data set of texts. Texts are equal where their token ids are."""
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    found = {name: texts for name, texts in parts.items() if texts is not None}
    digests = {name: list(texts.digests()) for name, texts in found.items()}
    known = set(digests["train"])
    return TextDescription(
        class_names=dataset.class_names,
        parts={name: _part(texts, digests[name]) for name, texts in found.items()},
        shared={name: sum(one in known for one in own) for name, own in digests.items() if name != "train"},
        tensors=tuple(dataset.train.example(1)),
    )


def _part(texts: Texts, digests: list[bytes]) -> TextPart:
    lengths = texts.lengths()
    values = sum(
        field.values.element_size() * field.values[:1].numel() * int(field.lengths[_rows(texts)].sum())
        for field in texts.fields.values()
    )
    return TextPart(
        texts=len(texts),
        class_counts=tuple(torch.bincount(texts.known_labels().cpu(), minlength=texts.classes).tolist()),
        shortest=int(lengths.min()),
        mean=round(float(lengths.double().mean()), 1),
        longest=int(lengths.max()),
        at_limit=int((lengths >= texts.most()).sum()),
        repeated=sum(count - 1 for count in Counter(digests).values()),
        memory=values + 8 * len(texts),
    )


def _rows(texts: Texts) -> torch.Tensor:
    return torch.arange(len(texts.labels)) if texts.rows is None else texts.rows
