"""Which token ids a network reads: those of the student's tokenizer, or of the teacher's own."""

from collections.abc import Mapping

from torch import Tensor, nn

from smskd import models
from smskd.config.models import ModelConfig
from smskd.data import TextDataset
from smskd.data.sources.tokenized import TEACHER
from smskd.data.sources.tokenizers import tokenizer_beside
from smskd.data.texts import prefix_of
from smskd.errors import UserError
from smskd.models.libraries.names import library_of, own_name
from smskd.models.weights import read_weights

_ADVICE = "another tokenizer than that of the data"


def known_tokenizer(config: ModelConfig, own: nn.Module | None) -> str | None:
    """What identifies the tokenizer of whose ids a network has learned, as far as that is known.

    Args:
        config: of the network.
        own: the network, where a program gives it.
    """
    if own is not None:
        known = models.facts(own)
        return None if known is None else known.tokenizer
    if config.weights is not None:
        return read_weights(config.weights).facts.tokenizer
    if library_of(config.name) == "transformers" and config.options.get("pretrained"):
        found = tokenizer_beside(own_name(config.name))
        return None if found is None else found.digest
    return None


def prefix_of_teacher(known: str | None, dataset: TextDataset) -> str:
    """The prefix of the names of the tensors that a teacher reads.

    Args:
        known: see :func:`known_tokenizer`.
        dataset: the data.

    Raises:
        UserError: it has learned from the ids of a tokenizer that the data have not been given.
    """
    if known is None or not dataset.tokenizers:
        return TEACHER if TEACHER in dataset.train.prefixes else ""
    for prefix, digest in dataset.tokenizers.items():
        if digest == known:
            return prefix
    raise UserError(
        f"it has learned from the token ids of {_ADVICE}: give its folder or id as data.source.teacher_tokenizer"
    )


def check_student(known: str | None, dataset: TextDataset) -> None:
    """Refuses a student whose weights have learned from other token ids than it is given.

    Raises:
        UserError: the tokenizers differ.
    """
    own = dataset.tokenizers.get("")
    if known is not None and own is not None and known != own:
        raise UserError(
            f"its weights have learned from the token ids of {_ADVICE}: set data.source.tokenizer to its own"
        )


def own_tensors(example: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one network among those of all, by the names that it knows."""
    return {name.removeprefix(prefix): tensor for name, tensor in example.items() if prefix_of(name) == prefix}
