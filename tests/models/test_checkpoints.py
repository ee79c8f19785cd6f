"""Checkpoints of other programs that hold other things than plain tensors, or more than they seem to."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smskd.errors import UserError
from smskd.models import load_weights, save_weights


def refused(path: Path, message: str) -> None:
    target = nn.Linear(2, 2)
    before = target.weight.detach().clone()
    with pytest.raises(UserError, match=message) as caught:
        load_weights(target, path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert torch.equal(target.weight, before)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.eye(2).to_sparse(), "sparse"),
        (lambda: torch.eye(2).to_sparse_csr(), "sparse"),
        (lambda: torch.empty(2, 2, device="meta"), "meta"),
        (lambda: torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]), "nested"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_plain_values(tmp_path: Path, make: Callable[[], torch.Tensor], kind: str) -> None:
    torch.save({"weight": make(), "bias": torch.zeros(2)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", f"weight is a {kind} tensor; only dense ones")


@pytest.mark.parametrize("key", [1, None, ("a", 2), 1.5])
def test_keys_that_are_no_names(tmp_path: Path, key: Any) -> None:
    torch.save({"bias": torch.zeros(2), key: torch.zeros(2, 2)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "is not the name of a tensor")


def test_a_compressed_checkpoint_could_unfold_to_any_size(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1000, 1000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "w.pth").stat().st_size < 10_000
    refused(tmp_path / "w.pth", "its parts are compressed")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("value", [bytearray(8), torch.FloatTensor])
def test_names_that_make_an_object_of_any_size(tmp_path: Path, value: Any, zipped: bool) -> None:
    state = {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    torch.save({"model": state, "more": value}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    name = "__builtin__.bytearray" if isinstance(value, bytearray) else "torch.FloatTensor"
    refused(tmp_path / "w.pth", f"it contains a {name}")


class Runs:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_nothing_is_unpickled(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Runs(tmp_path / "made")))
    refused(tmp_path / name, "cannot be read")
    torch.save({"model": Runs(tmp_path / "made")}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "it contains a posix.mkdir")
    assert not (tmp_path / "made").exists()


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "is not a file")
    (tmp_path / "w.safetensors").mkdir()
    refused(tmp_path / "w.safetensors", "has no student.safetensors")
    refused(Path("/dev/zero"), "is not a file")
    refused(tmp_path / ("x" * 300), "there is no file")
    refused(tmp_path / "a\0b", "there is no file")


def test_a_header_of_any_length(tmp_path: Path) -> None:
    for length in (2**63, 10**15, 99_999_999):
        (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}" * 10)
        refused(tmp_path / "w.safetensors", "cannot be read")


def _message(target: nn.Module, file: Path) -> str:
    """Of the error with which weights are refused; empty where they are loaded."""
    try:
        load_weights(target, file)
    except UserError as error:
        return str(error)
    return ""


def test_truncated_and_flipped(tmp_path: Path) -> None:
    """Every seventh byte of both kinds: the weights that were written, or one line."""
    source = nn.Linear(2, 2)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    save_weights(source, tmp_path / "w.safetensors", {"classes": "2"})
    for file in (tmp_path / "w.pth", tmp_path / "w.safetensors"):
        whole = file.read_bytes()
        for place in range(0, len(whole), 7):
            flipped = bytearray(whole)
            flipped[place] ^= 0xFF
            for content in (whole[:place], bytes(flipped)):
                file.write_bytes(content)
                target = nn.Linear(2, 2)
                message = _message(target, file)
                assert "\n" not in message
                if not message:
                    unharmed = torch.equal(target.weight, source.weight) and torch.equal(target.bias, source.bias)
                    assert unharmed or file.suffix == ".pth"  # which has no digest
