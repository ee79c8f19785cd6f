"""A data set of texts: training, validation and test texts as token ids."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from smskd.data.labelled import LabelledData
from smskd.data.texts import Texts
from smskd.errors import UserError


@dataclass(frozen=True, eq=False, kw_only=True)
class TextDataset(LabelledData):
    """Training and test texts of the same classes, as token ids.

    Args:
        name: of the data source.
        train: the texts to train on.
        test: the texts to test on. Where their classes have the names of the training texts' in another order, or are
            only some of them, their labels become those of the training texts; likewise of ``validation``.
        validation: texts held out of training, on which the best epoch is selected; default None: there are none.
        tokenizers: by prefix of the names of the tensors, what identifies the tokenizer; see :class:`smskd.data.Texts`.

    Raises:
        UserError: the parts do not fit each other.
    """

    name: str
    train: Texts
    test: Texts
    validation: Texts | None = None
    tokenizers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("test", "validation"):
            texts: Texts | None = getattr(self, part)
            if texts is None:
                continue
            if set(texts.fields) != set(self.train.fields):
                raise UserError(
                    f"{self.name}: training samples have {', '.join(sorted(self.train.fields))}, {part} samples "
                    f"{', '.join(sorted(texts.fields))}"
                )
            if texts.class_names != self.train.class_names:
                object.__setattr__(self, part, self._matched(part, texts))
        self._bring_to_one_length()

    def _bring_to_one_length(self) -> None:
        """Batches of all parts may be as long as those of any, so that a network that takes the longest takes all."""
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        found = {name: texts for name, texts in parts.items() if texts is not None}
        longest = {prefix: max(texts.most(prefix) for texts in found.values()) for prefix in self.train.prefixes}
        for name, texts in found.items():
            if texts.longest != longest:
                object.__setattr__(self, name, replace(texts, longest=longest))

    def example(self, device: torch.device) -> dict[str, torch.Tensor]:
        """A few training samples, filled up to the largest length of a batch."""
        return {name: tensor.to(device) for name, tensor in self.train.example().items()}

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of :meth:`fingerprints` and the tokenizers."""
        facts = (*self.fingerprints().values(), sorted(self.tokenizers.items()))
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def _matched(self, part: str, texts: Texts) -> Texts:
        try:
            return texts.with_classes(self.train.class_names)
        except UserError as error:
            message = str(error).replace("training images", "training texts")
            raise UserError(f"{self.name}: {part} texts: {message}") from None
