"""The text and label columns of a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smskd.data.images import check_labels, numbered_classes
from smskd.data.sample_pairs import LABEL_KEYS
from smskd.errors import UserError, nearest

TEXT_KEYS = ("text", "sentence", "content", "review", "document", "question", "utterance", "title")
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text_a", "text_b"),
)
"""Names of the two columns of pairs of texts, as GLUE and others have them."""

LABELS = (*LABEL_KEYS, "class", "category", "target", "intent")


@dataclass(frozen=True)
class Table:
    """A part of a data set of texts.

    Attributes:
        where: for messages: `reviews/train.csv`.
        texts, numbers: names of the columns of texts, and of integers.
        read: the values of a column, None where a cell is empty.
        class_names: of a column of class labels; None where it has none.
    """

    where: str
    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    read: Callable[[str], list[str | int | None]]
    class_names: Callable[[str], tuple[str, ...] | None]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that can be read."""
        return self.texts + self.numbers


@dataclass(frozen=True)
class Columns:
    """The columns that are used: of texts, of their second parts if they are pairs, and of labels."""

    text: str
    pair: str | None
    label: str


def find_columns(table: Table, text: str | None, pair: str | None, label: str | None) -> Columns:
    """The columns that are used, those that are given, or else found by their types and names.

    Raises:
        UserError: there is no such column, or none that fits, or several.
    """
    label = _label_column(table, label)
    others = [name for name in table.texts if name != label]
    if text is None and pair is None:
        found = next((names for names in PAIRS if set(names) <= set(others)), None)
        if found is not None:
            return Columns(*found, label)
    return Columns(
        _chosen(table, "text_column", "texts", text, others, [[name] for name in TEXT_KEYS if name in others]),
        None if pair is None else _chosen(table, "text_pair_column", "texts", pair, others, []),
        label,
    )


def read_texts(table: Table, column: str) -> list[str]:
    """The texts of a column.

    Raises:
        UserError: a cell is empty; its row, counted from 0, is named.
    """
    found = table.read(column)
    for row, value in enumerate(found):
        if value is None:
            raise UserError(f"{table.where}, row {row}: column '{column}' is empty")
    return [str(value) for value in found]


def read_classes(table: Table, column: str, names: Sequence[str] | None) -> tuple[Tensor, tuple[str, ...]]:
    """The labels of a column, int64 [N], and the names of their classes.

    Args:
        table: with the column.
        column: of integers, or of the names of the classes.
        names: of the training part; None: this is it.

    Raises:
        UserError: a label is empty, below 0, or that of a class that the training part does not have; row and label are
            named.
    """
    values = table.read(column)
    for row, value in enumerate(values):
        if value is None:
            raise UserError(f"{table.where}, row {row}: column '{column}' is empty")
    if column in table.texts:
        return _named(table, [str(value) for value in values], names)
    labels = torch.tensor([int(value) for value in values if value is not None], dtype=torch.int64)
    own = table.class_names(column) or names or numbered_classes(labels, lambda row: f"{table.where}, row {row}")
    check_labels(labels, len(own), lambda row: f"{table.where}, row {row}")
    return labels, tuple(own)


def _named(table: Table, values: list[str], names: Sequence[str] | None) -> tuple[Tensor, tuple[str, ...]]:
    known = tuple(sorted(set(values))) if names is None else tuple(names)
    places = {name: place for place, name in enumerate(known)}
    for row, value in enumerate(values):
        if value not in places:
            raise UserError(
                f"{table.where}, row {row}: '{value}' is none of the {len(known)} classes of the training texts"
            )
    return torch.tensor([places[value] for value in values], dtype=torch.int64), known


def _label_column(table: Table, given: str | None) -> str:
    typed = [name for name in table.numbers if table.class_names(name) is not None]
    usual = [[name] for name in LABELS if name in table.columns]
    return _chosen(table, "label_column", "labels", given, table.columns, [typed, *usual])


def _chosen(
    table: Table,
    option: str,
    content: str,
    given: str | None,
    fitting: Sequence[str],
    found: Sequence[Sequence[str]],
) -> str:
    if given is not None:
        if given not in fitting:
            raise UserError(f"{option}: {table.where} has no column of {content} '{given}'{nearest(given, fitting)}")
        return given
    if option == "text_column" and len(fitting) == 1:
        return fitting[0]
    for names in found:
        if len(names) == 1:
            return names[0]
    columns = ", ".join(table.columns) or "none"
    raise UserError(f"set {option}, the column of {content}; the columns of {table.where} are {columns}")
