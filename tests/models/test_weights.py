"""Weights on disk: files that smskd writes, and published checkpoints."""

import argparse
import os
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models import adapt, create, load_weights, read_metadata, save_weights


def model(seed: int, **options: Any) -> FeatureModel:
    torch.manual_seed(seed)
    made = create("resnet8_w2", **options)
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return made


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


def assert_refused(path: Path, message: str, **options: Any) -> None:
    target = model(5, **options)
    with pytest.raises(UserError, match=message) as caught:
        load_weights(target, path)
    assert "\n" not in str(caught.value)
    assert same(target, model(5, **options))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_weights(model(1), tmp_path / "w.safetensors", {"name": "resnet8_w2"})
    target = model(2)
    assert not same(target, model(1))
    load_weights(target, tmp_path / "w.safetensors")
    assert same(target, model(1))
    assert read_metadata(tmp_path / "w.safetensors") == {"name": "resnet8_w2"}


def test_weights_without_metadata(tmp_path: Path) -> None:
    save_weights(model(1), tmp_path / "w.safetensors")
    assert read_metadata(tmp_path / "w.safetensors") == {}


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    save_weights(model(1), tmp_path / "student.safetensors", {"stage": "2"})
    target = model(2)
    load_weights(target, tmp_path)
    assert same(target, model(1))
    assert read_metadata(tmp_path) == {"stage": "2"}


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(model(1), path)

    def broken(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        save_weights(model(2), path)
    monkeypatch.undo()
    target = model(3)
    load_weights(target, path)
    assert same(target, model(1))
    assert list(tmp_path.iterdir()) == [path]


def test_shared_and_strided_tensors(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    module[0].weight.data = torch.arange(9.0).view(3, 3).t()
    save_weights(module, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert torch.equal(stored["0.weight"], stored["1.weight"])
    target = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    target[1].weight = target[0].weight
    load_weights(target, tmp_path / "w.safetensors")
    assert target[1].weight is target[0].weight
    assert torch.equal(target[0].weight, torch.arange(9.0).view(3, 3).t())


def test_weights_of_an_adapted_model_are_those_of_its_module(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    save_weights(adapt(module, torch.zeros(2, 3, 2, 2)), tmp_path / "w.safetensors")
    assert list(load_file(tmp_path / "w.safetensors")) == ["1.bias", "1.weight"]
    other = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    load_weights(adapt(other, torch.zeros(2, 3, 2, 2)), tmp_path / "w.safetensors")
    assert same(other, module)


def repdistiller(state: dict[str, Tensor]) -> dict[str, Any]:
    """A checkpoint as RepDistiller saves it for a teacher."""
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.9)
    weight.grad = torch.ones(3)
    optimizer.step()
    return {
        "epoch": 240,
        "model": state,
        "best_acc": torch.tensor(72.34),
        "optimizer": optimizer.state_dict(),
    }


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"net": state, "acc": 93.5, "epoch": 7},
        lambda state: {"model": {f"module.{key}": tensor for key, tensor in state.items()}},
        repdistiller,
        lambda state: repdistiller(state) | {"best_acc": np.float64(72.34), "accuracy": np.float32(1)},
        lambda state: {"opt": argparse.Namespace(model="resnet8", lr=0.05), "model": state},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_foreign_checkpoints(tmp_path: Path, wrap: Any, zipped: bool) -> None:
    path = tmp_path / "ckpt_epoch_240.pth"
    checkpoint = wrap(OrderedDict(model(1).state_dict()))
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    target = model(2)
    load_weights(target, path)
    assert same(target, model(1))


def test_a_numpy_scalar_from_before_numpy_2(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    checkpoint = repdistiller(model(1).state_dict()) | {"best_acc": np.float64(72.34)}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    stored = path.read_bytes()
    old = stored.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != stored
    path.write_bytes(old)
    target = model(2)
    load_weights(target, path)
    assert same(target, model(1))


def test_half_precision_is_converted(tmp_path: Path) -> None:
    torch.save(model(1).half().state_dict(), tmp_path / "half.pth")
    target = model(2)
    load_weights(target, tmp_path / "half.pth")
    assert target.get_parameter("fc.weight").dtype == torch.float32
    assert torch.equal(target.get_parameter("fc.weight"), model(1).get_parameter("fc.weight").half().float())


def test_checkpoints_from_before_the_batch_counter(tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in model(1).state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "old.pth")
    target = model(2)
    load_weights(target, tmp_path / "old.pth")
    assert same(target, model(1))


def test_a_model_with_a_part_called_module(tmp_path: Path) -> None:
    def part() -> nn.Module:
        return nn.Sequential(OrderedDict(module=nn.Linear(2, 2)))

    source, target = part(), part()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert same(source, target)


def test_no_file(tmp_path: Path) -> None:
    assert_refused(tmp_path / "w.pth", "there is no file .*w.pth")
    assert_refused(tmp_path, "has no student.safetensors")
    with pytest.raises(UserError, match="there is no file"):
        read_metadata(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello, this is no checkpoint", bytes(range(256))])
def test_a_file_that_is_not_a_checkpoint(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, f"{name} cannot be read")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(model(1), path)
    path.write_bytes(path.read_bytes()[:-10])
    assert_refused(path, "cannot be read")
    with pytest.raises(UserError, match="cannot be read"):
        read_metadata(path)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    torch.save({"model": model(1).state_dict(), "share": Fraction(1, 2)}, tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", "it contains a fractions.Fraction; only tensors and plain data")


@pytest.mark.parametrize("checkpoint", [[1, 2], {"epoch": 3}, {"model": {}}, {"model": {"a": 3}}])
def test_a_checkpoint_without_weights(tmp_path: Path, checkpoint: object) -> None:
    torch.save(checkpoint, tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", "no state dict, neither at its top level nor under model, state_dict, net")


def test_missing_and_unexpected_keys(tmp_path: Path) -> None:
    state = model(1).state_dict()
    for key in ("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"):
        state["other." + key] = state.pop(key)
    torch.save(state, tmp_path / "w.pth")
    missing = r"missing bn1.weight, bn1.bias, bn1.running_mean, ... \(4 in all\); "
    unexpected = r"unexpected other.bn1.weight, other.bn1.bias, other.bn1.running_mean, ... \(4 in all\)$"
    assert_refused(tmp_path / "w.pth", missing + unexpected)


def test_a_few_missing_keys_are_all_named(tmp_path: Path) -> None:
    state = model(1).state_dict()
    del state["fc.bias"]
    torch.save(state, tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", "does not fit the model: missing fc.bias$")


def test_another_number_of_classes(tmp_path: Path) -> None:
    save_weights(model(1, classes=10), tmp_path / "w.safetensors")
    shape = r"fc.weight is \[10, 8\] in the file and \[100, 8\] in the model"
    assert_refused(tmp_path / "w.safetensors", shape, classes=100)


def test_integers_for_weights(tmp_path: Path) -> None:
    state = model(1).state_dict()
    state["fc.bias"] = state["fc.bias"].long()
    torch.save(state, tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", "fc.bias is int64 in the file and float32 in the model")
