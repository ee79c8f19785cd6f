"""Files of tensors: a change of any byte is noticed when they are read."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from smskd.errors import UserError
from smskd.runs.tensor_files import METADATA, read_tensors, write_tensors
from tests.support import tiny

TENSORS = {
    "weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) - 5,
    "count": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "half": torch.tensor([0.5, -0.0], dtype=torch.bfloat16),
    "nothing": torch.zeros(0, 3),
}
FACTS = {"model": "resnet20", "options": '{"width": 2}'}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "w.safetensors", TENSORS, FACTS)
    return tmp_path / "w.safetensors"


def test_to_disk_and_back(file: Path) -> None:
    for own in (True, False):
        tensors, metadata = read_tensors(file, own=own)
        assert tiny.same(tensors, TENSORS)
        assert [tensor.dtype for _, tensor in sorted(tensors.items())] == [
            tensor.dtype for _, tensor in sorted(TENSORS.items())
        ]
        assert metadata == FACTS


def test_equal_content_gives_equal_bytes(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    write_tensors(other, dict(reversed(TENSORS.items())), dict(reversed(FACTS.items())))
    assert other.read_bytes() == file.read_bytes()


def test_every_flipped_bit_is_noticed_or_changes_nothing(file: Path) -> None:
    good = file.read_bytes()
    unnoticed, told = 0, set()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        file.write_bytes(bad)
        try:
            tensors, metadata = read_tensors(file, own=True)
        except UserError as error:
            told.add("is damaged" in str(error))
        else:
            unnoticed += 1
            assert tiny.same(tensors, TENSORS)
            assert metadata == FACTS
    assert told == {True}
    assert unnoticed < 20  # blanks after the header


def test_a_flip_in_the_values_is_noticed_by_whoever_reads(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-20] ^= 4
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.safetensors is damaged .its content does not match its digest"):
        read_tensors(file)


@pytest.mark.parametrize("key", [METADATA, "smske"])
def test_a_file_of_ours_without_a_digest_is_damaged(key: str, tmp_path: Path, file: Path) -> None:
    entry = json.dumps({"sha256": "0"} if key != METADATA else {"model": "resnet20"})
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata={key: entry})
    with pytest.raises(UserError, match="is damaged"):
        read_tensors(tmp_path / "x.safetensors")


def test_a_foreign_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"format": "pt"})
    tensors, metadata = read_tensors(path)
    assert (tensors["a"].tolist(), metadata) == ([1, 1], {"format": "pt"})
    with pytest.raises(UserError, match=r"is damaged \(it has no digest\)"):
        read_tensors(path, own=True)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x10" * 40, b"\xff" * 8 + b"{}"])
def test_what_is_no_safetensors_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read: it is damaged, or not a safetensors file"):
        read_tensors(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_tensors(tmp_path / "nothing")
    with pytest.raises(UserError, match="is not a file"):
        read_tensors(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a file"):
        read_tensors(tmp_path / "pipe")


def test_the_mode_is_that_of_any_new_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("")
    assert file.stat().st_mode == (tmp_path / "text").stat().st_mode
