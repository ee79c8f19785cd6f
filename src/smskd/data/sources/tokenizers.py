"""Tokenizers of transformers, and texts as token ids."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smskd.config.paths import expanded
from smskd.data.sources.catalog import Track
from smskd.data.texts import INPUT_IDS, Field, field_of
from smskd.errors import UserError, not_installed
from smskd.interfaces.inputs import ATTENTION_MASK

_AT_ONCE = 1000
_CHANGING = ("truncation", "padding")
"""Parts of a tokenizer's state that its last call leaves behind."""


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer of transformers.

    Attributes:
        tokenizer: of the library.
        digest: SHA-256 (hexadecimal) of its vocabulary and rules.
    """

    tokenizer: Any
    digest: str

    @classmethod
    def load(cls, name: str, option: str) -> "Tokenizer":
        """The tokenizer of a folder with its files, or of an id of the Hugging Face hub. No code of it is run.

        Args:
            name: the folder, if there is one of this name, or the id.
            option: of the data source, for messages.

        Raises:
            UserError: transformers is not installed, or the tokenizer cannot be loaded.
        """
        try:
            import transformers
        except ImportError as error:
            raise UserError(f"{option}: {not_installed('transformers', 'transformers', error)}") from None
        folder = expanded(name)
        if not folder.is_dir() and (folder.exists() or name.startswith((".", "/", "~"))):
            raise UserError(f"{option}: {folder} is no folder with the files of a tokenizer")
        try:
            found: Any = transformers.AutoTokenizer.from_pretrained(str(folder) if folder.is_dir() else name)
        except Exception as error:  # of the library, the network or a damaged file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{option}: the tokenizer of '{name}' cannot be loaded: {reason}") from error
        return cls(found, _digest(found))

    def fields(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        max_length: int,
        track: Track | None = None,
        prefix: str = "",
    ) -> dict[str, Field]:
        """The token ids of texts, and what else the tokenizer gives for each token.

        Args:
            texts: one for each sample.
            pairs: the second text of each; None: there is none.
            max_length: longer texts are cut off.
            track: shows progress.
            prefix: of the names.
        """
        found: dict[str, list[Tensor]] = {}
        numbers: Iterable[int] = range(len(texts))
        done = iter(numbers if track is None else track(numbers, len(texts)))
        for begin in range(0, len(texts), _AT_ONCE):
            some = slice(begin, begin + _AT_ONCE)
            second = {} if pairs is None else {"text_pair": list(pairs[some])}
            encoded = self.tokenizer(list(texts[some]), **second, truncation=True, max_length=max_length, padding=False)
            for name in self._names:
                found.setdefault(name, []).extend(torch.tensor(row, dtype=torch.int32) for row in encoded[name])
            for _ in texts[some]:
                next(done, None)
        next(done, None)
        return {prefix + name: field_of(rows, self._padding(name)) for name, rows in found.items()}

    @property
    def _names(self) -> list[str]:
        return [
            INPUT_IDS,
            *(name for name in self.tokenizer.model_input_names if name not in (INPUT_IDS, ATTENTION_MASK)),
        ]

    def _padding(self, name: str) -> float:
        ids = {INPUT_IDS: self.tokenizer.pad_token_id, "token_type_ids": self.tokenizer.pad_token_type_id}
        return ids.get(name) or 0


def _digest(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        rules: Any = {key: value for key, value in state.items() if key not in _CHANGING}
    else:
        rules = sorted(tokenizer.get_vocab().items())
    facts = (rules, tokenizer.pad_token_id, tokenizer.model_input_names)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def tokenizer_beside(network: str) -> Tokenizer | None:
    """The tokenizer in the folder of a network of transformers; None where there is none, or it is no folder."""
    folder = expanded(network)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        return None
    return Tokenizer.load(str(folder), "tokenizer")
