"""Labelled sequences in memory: token ids, and other tensors of each sample by name."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from smskd.data.images import check_labels, class_mapping, subset_rows
from smskd.errors import UserError
from smskd.interfaces.inputs import ATTENTION_MASK

INPUT_IDS = "input_ids"

MULTIPLE = 8
"""Lengths of batches are multiples of it: few different shapes, of sizes that GPUs are fast with."""


@dataclass(frozen=True, eq=False)
class Field:
    """One tensor of each sample.

    Args:
        values: of all samples, one after the other, [total, ...].
        starts: int64 [N + 1], where the values of each sample begin, and the end, on the CPU.
        padding: the value by which shorter samples of a batch are filled up; None: all samples have the same length,
            and are never filled up.
    """

    values: Tensor
    starts: Tensor
    padding: float | None = 0

    @property
    def lengths(self) -> Tensor:
        """int64 [N], on the CPU."""
        return self.starts[1:] - self.starts[:-1]

    def padded(self, rows: Tensor, length: int) -> Tensor:
        """Some samples, [n, length, ...], filled up; numbers are int64 or float.

        Args:
            rows: int64 [n], on the CPU.
            length: of the longest of them, or more.
        """
        device = self.values.device
        starts, lengths = self.starts[rows].to(device), self.lengths[rows].to(device)
        steps = torch.arange(length, device=device)
        places = (starts[:, None] + steps).clamp(max=max(len(self.values) - 1, 0))
        found = self.values[places]
        found = found if found.is_floating_point() else found.long()
        if self.padding is None:
            return found
        inside = (steps < lengths[:, None]).view(len(rows), length, *[1] * (self.values.ndim - 1))
        return found.masked_fill(~inside, self.padding)


@dataclass(frozen=True, eq=False)
class Texts:
    """Labelled sequences in memory, such as the token ids of texts.

    The tensors of a batch are as long as the longest of its samples, rounded up to a multiple. The names of the
    tensors of further tokenizers begin with a prefix that ends with a dot: ``teacher.input_ids``. They have a length
        of their own. Where
    there is no field ``attention_mask``, the mask follows from the lengths.

    Args:
        fields: by name, such as ``input_ids`` and ``token_type_ids``.
        labels: int64 [N], class indices from 0 to ``len(class_names) - 1``.
        class_names: one name per class.
        longest: by prefix, the largest length that a batch may have; default: that of the longest sample.
        multiple: of which the length of a batch is one, as far as ``longest`` allows; default 8.
        rows: int64 [n], the samples of the fields and labels that these are; None: all of them.

    Raises:
        UserError: a label is out of range, or a sample has no tokens.
    """

    fields: Mapping[str, Field]
    labels: Tensor
    class_names: tuple[str, ...]
    longest: Mapping[str, int] | None = None
    multiple: int = MULTIPLE
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if self.rows is not None:
            return
        check_labels(self.labels, len(self.class_names))
        for name, field in self.fields.items():
            if field.padding is not None and bool((field.lengths == 0).any()):
                raise UserError(f"row {int((field.lengths == 0).nonzero()[0])} has no {name}: it is empty")
        if self.longest is None:
            object.__setattr__(self, "longest", {prefix: self._longest(prefix) for prefix in self.prefixes})

    def __len__(self) -> int:
        return len(self.labels) if self.rows is None else len(self.rows)

    def __getitem__(self, row: int) -> tuple[dict[str, Tensor], int]:
        """The tensors of a sample, not filled up, and its label."""
        own = row if self.rows is None else int(self.rows[row])
        tensors = {
            name: field.values[int(field.starts[own]) : int(field.starts[own + 1])]
            for name, field in self.fields.items()
        }
        return tensors, int(self.labels[own])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of the names of the tensors, that of the student's, which is empty, first."""
        return tuple(sorted({prefix_of(name) for name in self.fields}))

    @property
    def padding(self) -> dict[str, float]:
        """The value by which each tensor of a batch is filled up."""
        known = {name: field.padding for name, field in self.fields.items() if field.padding is not None}
        masks = {prefix + ATTENTION_MASK: 0 for prefix in self.prefixes if self._sequences(prefix)}
        return {**masks, **known}

    def known_labels(self) -> Tensor:
        """The labels, int64 [N]."""
        return self.labels if self.rows is None else self.labels[self.rows.to(self.labels.device)]

    def batch(self, rows: Tensor, *, whole: bool = False) -> dict[str, Tensor]:
        """The tensors of some samples by name, filled up to one length.

        Args:
            rows: int64 [n], on the CPU.
            whole: fill up to the largest length that a batch may have.
        """
        own = rows if self.rows is None else self.rows[rows]
        lengths = {prefix: self._length(prefix, own, whole=whole) for prefix in self.prefixes}
        found: dict[str, Tensor] = {}
        for prefix, length in lengths.items():
            names = self._sequences(prefix)
            if names and prefix + ATTENTION_MASK not in self.fields:
                field = self.fields[names[0]]
                mask = torch.arange(length) < field.lengths[own][:, None]
                found[prefix + ATTENTION_MASK] = mask.long().to(field.values.device)
            found |= {name: self.fields[name].padded(own, length) for name in names}
        fixed = {name: field for name, field in self.fields.items() if field.padding is None}
        found |= {name: field.padded(own, int(field.lengths[0])) for name, field in fixed.items()}
        return {name: found[name] for name in sorted(found)}

    def most(self, prefix: str = "") -> int:
        """The largest length that a batch may have."""
        return (self.longest or {}).get(prefix, 0)

    def lengths(self, prefix: str = "") -> Tensor:
        """The number of tokens of each sample, int64 [N], on the CPU."""
        names = self._sequences(prefix)
        found = self.fields[names[0]].lengths if names else torch.zeros(len(self.labels), dtype=torch.int64)
        return found if self.rows is None else found[self.rows]

    def example(self, count: int = 4) -> dict[str, Tensor]:
        """A few samples filled up to the largest length of a batch: the longest, and that of the largest id."""
        chosen = [int(self.lengths().argmax())]
        chosen += [self._row_of_largest(name) for name in self.fields if name.endswith(INPUT_IDS)]
        others = (row for row in range(len(self)) if row not in chosen)
        rows = [*dict.fromkeys(chosen), *(row for row, _ in zip(others, range(count), strict=False))]
        return self.batch(torch.tensor(rows[:count]), whole=True)

    def digests(self) -> Iterator[bytes]:
        """A hash of each sample, without its label."""
        rows = torch.arange(len(self.labels)) if self.rows is None else self.rows
        own = {name: (field.values.cpu(), field.starts) for name, field in self.fields.items()}
        own = {name: pair for name, pair in own.items() if not prefix_of(name)}
        for row in rows.tolist():
            digest = hashlib.blake2b(digest_size=16)
            for name, (values, starts) in own.items():
                digest.update(name.encode())
                digest.update(values[int(starts[row]) : int(starts[row + 1])].contiguous().numpy().data)
            yield digest.digest()

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of tensors, labels and number of classes; computed once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        facts = (self.classes, sorted(self.padding.items()), self.multiple, sorted((self.longest or {}).items()))
        digest = hashlib.sha256(repr(facts).encode())
        for name, field in sorted(self.fields.items()):
            digest.update(repr((name, field.values.dtype, tuple(field.values.shape[1:]))).encode())
            rows = torch.arange(len(self.labels)) if self.rows is None else self.rows
            lengths, starts, values = field.lengths[rows], field.starts[rows], field.values.cpu()
            digest.update(lengths.numpy().data)
            offsets = torch.arange(int(lengths.sum())) - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
            digest.update(values[starts.repeat_interleave(lengths) + offsets].contiguous().numpy().data)
        digest.update(self.known_labels().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, n: int, seed: int = 0) -> "Texts":
        """A random part, as :meth:`Images.subset <smskd.data.Images.subset>` takes it.

        Raises:
            UserError: n is less than 1.
        """
        rows = subset_rows(len(self), n, seed)
        return self if rows is None else self.take(rows)

    def take(self, rows: Tensor) -> "Texts":
        """The samples of some rows, int64 [n], in that order."""
        rows = rows.cpu()
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def with_classes(self, class_names: Sequence[str]) -> "Texts":
        """The same samples with the labels that their classes have in another list of class names.

        Raises:
            UserError: one of the classes is not in that list.
        """
        mapping = class_mapping(self.class_names, class_names).to(self.labels.device)
        return replace(self, labels=mapping[self.labels], class_names=tuple(class_names))

    def to(self, device: torch.device | str) -> "Texts":
        """The same samples on a device; nothing is copied where they are there already."""
        if self.labels.device == torch.device(device):
            return self
        fields = {name: replace(field, values=field.values.to(device)) for name, field in self.fields.items()}
        return replace(self, fields=fields, labels=self.labels.to(device))

    def _sequences(self, prefix: str) -> list[str]:
        """The names of the fields with this prefix that are filled up, the token ids first."""
        names = [name for name, field in self.fields.items() if field.padding is not None]
        own = (name for name in names if prefix_of(name) == prefix)
        return sorted(own, key=lambda name: name != prefix + INPUT_IDS)

    def _longest(self, prefix: str) -> int:
        return max((int(self.fields[name].lengths.max()) for name in self._sequences(prefix)), default=0)

    def _length(self, prefix: str, rows: Tensor, *, whole: bool) -> int:
        """The length of a batch; ``rows`` are those of the fields."""
        most = self.most(prefix)
        names = self._sequences(prefix)
        if whole or not names:
            return most
        longest = max(int(self.fields[name].lengths[rows].max()) for name in names)
        return min(-(-longest // self.multiple) * self.multiple, max(most, longest))

    def _row_of_largest(self, name: str) -> int:
        field = self.fields[name]
        place = int(field.values.argmax())
        row = int(torch.searchsorted(field.starts, place, right=True)) - 1
        if self.rows is None:
            return row
        found = (self.rows == row).nonzero()
        return int(found[0]) if len(found) else 0


def prefix_of(name: str) -> str:
    """The part of a tensor's name up to its last dot; empty where there is none."""
    return name[: name.rfind(".") + 1]


def field_of(samples: Sequence[Tensor], padding: float | None = 0) -> Field:
    """The field of tensors [length, ...], one for each sample."""
    lengths = torch.tensor([len(sample) for sample in samples], dtype=torch.int64)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return Field(torch.cat(list(samples)), starts, padding)
