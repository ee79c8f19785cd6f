import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from smskd import data
from smskd.data import TextDataset
from smskd.errors import UserError
from tests.support import texts

ROWS = [{"text": 'good, "fine" film', "label": 1}, {"text": "bad\nplot", "label": 0}, {"text": "great", "label": 1}]


def load(source: str = "text", **options) -> TextDataset:
    found = data.load(source, **{"tokenizer": str(texts.folder() / "student"), **options})
    assert isinstance(found, TextDataset)
    return found


def write(folder, ending, rows, part):
    if ending == "jsonl":
        texts.write_jsonl(folder / f"{part}.jsonl", rows)
    elif ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{part}.parquet")
    else:
        quoted = lambda value: '"' + str(value).replace('"', '""') + '"'  # noqa: E731
        separator = "," if ending == "csv" else "\t"
        lines = [separator.join(rows[0]), *(separator.join(map(quoted, row.values())) for row in rows)]
        (folder / f"{part}.{ending}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def words(found: TextDataset, row: int = 0) -> str:
    ids = found.train[row][0]["input_ids"]
    return texts.tokenizer().decode(ids[1:-1])


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_files_of_each_kind_hold_the_same(ending, tmp_path):
    for part in ("train", "dev"):
        write(tmp_path, ending, ROWS, part)
    found = load(root=str(tmp_path))
    assert [words(found, row) for row in range(3)] == ["good [UNK] [UNK] fine [UNK] film", "bad plot", "great"]
    assert found.train.known_labels().tolist() == [1, 0, 1]
    assert found.class_names == ("0", "1")
    assert len(found.test) == 3


def test_pairs_and_classes_by_name(tmp_path):
    rows = [
        {"idx": 0, "premise": "the film", "hypothesis": "a plot was good", "label": "yes"},
        {"idx": 1, "premise": "actor", "hypothesis": "story", "label": "no"},
    ]
    for part in ("train", "test"):
        texts.write_jsonl(tmp_path / f"{part}.jsonl", rows)
    found = load(root=str(tmp_path))
    assert found.class_names == ("no", "yes")
    assert found.train.known_labels().tolist() == [1, 0]
    assert found.train[0][0]["token_type_ids"].tolist() == [0] * 4 + [1] * 5
    single = load(root=str(tmp_path), text_column="premise")
    assert single.train.lengths().tolist() == [4, 3]


def test_long_texts_are_cut_off_and_parts_are_chosen():
    found = load(root=str(texts.folder()), max_length=6, subset=data.loading.SubsetConfig(train=10, test=4))
    assert (len(found.train), len(found.test)) == (10, 4)
    assert found.train.most() == 6
    whole = load(root=str(texts.folder()), max_length=6)
    rows = torch.randperm(texts.TRAIN, generator=torch.Generator().manual_seed(0))[:10]
    assert torch.equal(found.train.known_labels(), whole.train.known_labels()[rows])
    assert torch.equal(found.train[3][0]["input_ids"], whole.train[int(rows[3])][0]["input_ids"])


def test_a_saved_data_set_of_the_library_holds_the_same_as_files(tmp_path):
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = texts.samples(8, 3)
    content = {"sentence": [text for text, _ in rows], "label": [label for _, label in rows]}
    part = datasets.Dataset.from_dict(content, features=features)
    datasets.DatasetDict(train=part, test=part).save_to_disk(str(tmp_path / "saved"))
    found = load("hf", dataset=str(tmp_path / "saved"))
    assert found.class_names == ("bad", "good")
    assert words(found, 2) == rows[2][0]
    with pytest.raises(UserError, match="set tokenizer, the folder or the id of the student's tokenizer"):
        load("hf", dataset=str(tmp_path / "saved"), tokenizer=None)


def test_a_teacher_with_another_tokenizer_gets_ids_of_its_own():
    other = texts.folder() / "other"
    found = load(root=str(texts.folder()), teacher_tokenizer=str(other))
    tensors = found.train[0][0]
    assert not torch.equal(tensors["input_ids"], tensors["teacher.input_ids"])
    decoded = texts.tokenizer(reverse=True).decode(tensors["teacher.input_ids"][1:-1])
    assert decoded == words(found)
    assert len(set(found.tokenizers.values())) == 2


@pytest.mark.parametrize(
    ("rows", "options", "line"),
    [
        (
            [{"a": "x", "b": "y", "label": 0}],
            {},
            "set text_column, the column of texts; the columns of .* are a, b, label",
        ),
        ([{"text": "x", "kind": 0}], {}, "set label_column, the column of labels"),
        ([{"text": "x", "label": 0}], {"text_column": "txt"}, "no column of texts 'txt'; did you mean 'text'"),
        ([{"text": "x", "label": 0}, {"text": None, "label": 0}], {}, "row 1: column 'text' is empty"),
        ([{"text": "x", "label": 0}, {"text": "x", "label": -1}], {}, "row 1 has label -1"),
        ([{"text": "x", "label": 0}], {"tokenizer": "/nowhere"}, "tokenizer: /nowhere is no folder with the files"),
        ([{"text": "x", "label": 0}], {"train_file": "other.csv"}, "train_file: there is no file .*other.csv"),
        ([{"text": "x", "label": 0}], {"max_length": 1}, "data.source.max_length: must be greater than or equal to 2"),
    ],
)
def test_mistakes_are_told_in_a_line(rows, options, line, tmp_path):
    for part in ("train", "test"):
        texts.write_jsonl(tmp_path / f"{part}.jsonl", rows)
    with pytest.raises(UserError, match=line) as caught:
        load(root=str(tmp_path), **options)
    assert "\n" not in str(caught.value)


def test_test_texts_of_other_classes_and_damaged_files(tmp_path):
    texts.write_jsonl(tmp_path / "train.jsonl", [{"text": "x", "label": "a"}])
    texts.write_jsonl(tmp_path / "test.jsonl", [{"text": "x", "label": "b"}])
    with pytest.raises(UserError, match="row 0: 'b' is none of the 1 classes of the training texts"):
        load(root=str(tmp_path))
    (tmp_path / "train.jsonl").write_text("{nonsense", encoding="utf-8")
    with pytest.raises(UserError, match=r"train\.jsonl cannot be read: "):
        load(root=str(tmp_path))
    texts.write_jsonl(tmp_path / "train.jsonl", [{"text": "x", "label": 0}])
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(UserError, match="has no file test or validation or valid or val or dev"):
        load(root=str(tmp_path))
