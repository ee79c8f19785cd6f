"""Texts in files: CSV, tab-separated values, JSON lines or Parquet."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from pydantic import Field

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.sources.catalog import Track
from smskd.data.sources.text_columns import Table
from smskd.data.sources.tokenized import MAX_LENGTH, text_dataset
from smskd.data.text_dataset import TextDataset
from smskd.data.texts import MULTIPLE
from smskd.errors import UserError

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_TEST = ("test", "validation", "valid", "val", "dev")
"""The first one that exists is used."""

Length = Annotated[int, Field(ge=2, le=2**20)]
Multiple = Annotated[int, Field(ge=1, le=4096)]


def text(
    root: str,
    train_file: str | None = None,
    test_file: str | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    tokenizer: str | None = None,
    teacher_tokenizer: str | None = None,
    max_length: Length = MAX_LENGTH,
    pad_to_multiple_of: Multiple = MULTIPLE,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> TextDataset:
    """Labelled texts in files, a text and its label in each row; they are kept in memory as token ids.

    Files are CSV (with a header), tab-separated values, JSON lines (an object in each line) or Parquet, in UTF-8.
    Labels are integers from 0, or the names of the classes, which are then numbered in ascending order. The tokenizers
    need the extra ``smskd[transformers]``.

    Args:
        root: folder of the files.
        train_file: default: ``train`` with one of the endings .csv, .tsv, .jsonl, .json, .parquet.
        test_file: default: ``test``, or ``validation``, ``valid``, ``val`` or ``dev`` where there is none.
        text_column: default: the only column of texts beside the labels, or the one with a usual name, such as ``text``
            or ``sentence``.
        text_pair_column: the second text of each sample; default: that of a usual pair of names, such as ``premise``
            and ``hypothesis`` or ``sentence1`` and ``sentence2``, else there is none.
        label_column: default: the one with a usual name, such as ``label``.
        tokenizer: folder, or id of the Hugging Face hub, of the student's tokenizer; it has to be given.
        teacher_tokenizer: of the teacher, if it is another one: then each network gets its own token ids.
        max_length: tokens; longer texts are cut off; default 128.
        pad_to_multiple_of: the length of a batch is that of its longest text, rounded up to a multiple of this, but at
            most that of the longest text of all; default 8.
        subset: the texts that are used.
        track: shows progress; it is called for each part with the running numbers of its texts and how many they are.

    Raises:
        UserError: a file, a column or a tokenizer is missing or damaged; a cell is empty, or a label is none: file and
            row (counted from 0) are named.
    """
    folder = expanded(root)
    train = _table(_file(folder, train_file, ("train",), "train_file"))
    test = _table(_file(folder, test_file, _TEST, "test_file"))
    columns = text_column, text_pair_column, label_column
    limits = max_length, pad_to_multiple_of
    return text_dataset(
        "text", train, test, columns, tokenizer, teacher_tokenizer, *limits, subset or SubsetConfig(), track
    )


def find_files(folder: Path) -> tuple[Path, Path] | None:
    """The training and the test file of a folder; None where it has none."""
    found = [_first(folder, names) for names in (("train",), _TEST)]
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    paths = (folder / f"{name}{ending}" for name in names for ending in ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def _file(folder: Path, given: str | None, names: tuple[str, ...], option: str) -> Path:
    if not folder.is_dir():
        raise UserError(f"root: {folder} is no folder")
    path = folder / given if given is not None else _first(folder, names)
    if path is None:
        wanted, endings = " or ".join(names), ", ".join(ENDINGS)
        raise UserError(f"{folder} has no file {wanted} with one of the endings {endings}; set {option}")
    if not path.is_file():
        raise UserError(f"{option}: there is no file {path}")
    if path.suffix not in ENDINGS:
        raise UserError(f"{option}: {path} has none of the endings {', '.join(ENDINGS)}")
    return path


def _table(path: Path) -> Table:
    try:
        found = _read(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {reason}") from None
    kinds = {field.name: field.type for field in found.schema}
    texts = tuple(name for name, kind in kinds.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind))
    numbers = tuple(name for name, kind in kinds.items() if pa.types.is_integer(kind))
    return Table(str(path), texts, numbers, partial(_column, found), _no_names)


def _read(path: Path) -> Any:
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path, memory_map=False)
    if path.suffix in (".jsonl", ".json"):
        return pa.json.read_json(path, parse_options=pa.json.ParseOptions(newlines_in_values=False))
    options = pa.csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True)
    convert = pa.csv.ConvertOptions(strings_can_be_null=False, null_values=[""])
    return pa.csv.read_csv(path, parse_options=options, convert_options=convert)


def _column(table: Any, name: str) -> list[str | int | None]:
    values: list[str | int | None] = table.column(name).to_pylist()
    return values


def _no_names(column: str) -> tuple[str, ...] | None:
    return None
