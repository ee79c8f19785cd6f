"""A data set of texts from two tables: the columns are found, and texts become token ids."""

from smskd.config.data import SubsetConfig
from smskd.data.images import subset_rows
from smskd.data.sources.catalog import Track
from smskd.data.sources.text_columns import Columns, Table, find_columns, read_classes, read_texts
from smskd.data.sources.tokenizers import Tokenizer
from smskd.data.text_dataset import TextDataset
from smskd.data.texts import Field, Texts
from smskd.errors import UserError

MAX_LENGTH = 128
TEACHER = "teacher."
"""Prefix of the names of the teacher's tensors, where its tokenizer is another one."""


def text_dataset(
    name: str,
    train: Table,
    test: Table,
    columns: tuple[str | None, str | None, str | None],
    tokenizer: str | None,
    teacher_tokenizer: str | None,
    max_length: int,
    multiple: int,
    subset: SubsetConfig,
    track: Track | None,
) -> TextDataset:
    """The data set.

    Args:
        name: of the source.
        train, test: the tables.
        columns: the options ``text_column``, ``text_pair_column`` and ``label_column``.
        tokenizer: folder or id of the student's.
        teacher_tokenizer: of the teacher's; None: it is the same.
        max_length: longer texts are cut off.
        multiple: of which the lengths of batches are multiples.
        subset: the texts that are used.
        track: shows progress.

    Raises:
        UserError: a column or a tokenizer cannot be found, or a cell is empty; its place is named.
    """
    if tokenizer is None:
        raise UserError("set tokenizer, the folder or the id of the student's tokenizer (that of its network)")
    loaded = {"": Tokenizer.load(tokenizer, "tokenizer")}
    if teacher_tokenizer is not None:
        loaded[TEACHER] = Tokenizer.load(teacher_tokenizer, "teacher_tokenizer")
    used = find_columns(train, *columns)
    for column in (used.text, used.pair, used.label):
        if column is not None and column not in test.columns:
            raise UserError(f"{test.where} has no column '{column}', which {train.where} has")
    labels, names = read_classes(train, used.label, None)
    test_labels, test_names = read_classes(test, used.label, names)
    parts = {}
    for part, table, own, own_names, limit in (
        ("train", train, labels, names, subset.train),
        ("test", test, test_labels, test_names, subset.test),
    ):
        rows = subset_rows(len(own), limit or len(own), subset.seed) if len(own) else None
        chosen = list(range(len(own))) if rows is None else rows.tolist()
        if not chosen:
            raise UserError(f"{table.where} has no texts")
        fields: dict[str, Field] = {}
        for prefix, found in loaded.items():
            fields |= found.fields(*_texts(table, used, chosen), max_length, track, prefix)
        try:
            parts[part] = Texts(fields, own[chosen], own_names, multiple=multiple)
        except UserError as error:
            raise UserError(f"{table.where}, {error}") from None
    digests = {prefix: found.digest for prefix, found in loaded.items()}
    return TextDataset(name=name, train=parts["train"], test=parts["test"], tokenizers=digests)


def _texts(table: Table, used: Columns, rows: list[int]) -> tuple[list[str], list[str] | None]:
    texts = read_texts(table, used.text)
    pairs = None if used.pair is None else read_texts(table, used.pair)
    return [texts[row] for row in rows], None if pairs is None else [pairs[row] for row in rows]
