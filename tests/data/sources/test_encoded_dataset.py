"""Images of files: held in memory, or decoded whenever they are needed."""

import pytest
import torch

from smskd import data
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, LoaderConfig, SubsetConfig, ValidationConfig
from smskd.data import validation
from smskd.data.sources import encoded_dataset
from smskd.errors import UserError
from tests.support.labelled_folders import pixels, plain_folder, write_folder
from tests.support.parquet_files import plain_parquet
from tests.support.shards import write_shards
from tests.support.tiny_imagenet_files import write_tiny_imagenet


@pytest.fixture(params=["image_folder", "tiny_imagenet", "webdataset", "parquet"])
def source(request, tmp_path, monkeypatch):
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "cache"))
    write = {
        "image_folder": plain_folder,
        "tiny_imagenet": write_tiny_imagenet,
        "webdataset": write_shards,
        "parquet": plain_parquet,
    }
    return ComponentConfig(request.param, {"root": str(write[request.param](tmp_path / "data"))})


def load(source, kind="auto", **settings):
    return data.load(DataConfig(source, loader=LoaderConfig(kind=kind), **settings))


def streamed(dataset):
    parts = (dataset.train, dataset.test, *([] if dataset.validation is None else [dataset.validation]))
    (found,) = {isinstance(part, data.StreamedSamples) for part in parts}
    return found


def test_the_size_decides(source, monkeypatch):
    whole = load(source)
    size = whole.train.pixels.numel() + whole.test.pixels.numel()
    monkeypatch.setattr(encoded_dataset, "MOST_HELD", size)
    assert not streamed(load(source))
    monkeypatch.setattr(encoded_dataset, "MOST_HELD", size - 1)
    other = load(source)
    assert streamed(other)
    assert not streamed(load(source, subset=SubsetConfig(train=2)))
    assert not streamed(load(source, kind="memory"))
    assert (other.mean, other.std, other.class_names, other.padding) == (
        whole.mean,
        whole.std,
        whole.class_names,
        whole.padding,
    )
    assert torch.equal(torch.stack([other.train[row][0] for row in range(len(other.train))]), whole.train.pixels)
    assert torch.equal(other.train.known_labels(), whole.train.labels)


def test_the_loader_decides_unless_the_source_does(source):
    settings = {"validation": ValidationConfig(count=3)}
    assert streamed(load(source, "streaming", **settings))
    assert not streamed(load(source, "memory", **settings))
    own = ComponentConfig(source.name, {**source.options, "streaming": False})
    assert not streamed(load(own, "streaming", **settings))


@pytest.mark.parametrize("streaming", [(True, False), (False, True), (True, True), (False, False)])
def test_validation_images_that_are_test_images_are_refused(tmp_path, streaming):
    roots = {name: str(plain_folder(tmp_path / name)) for name in ("one", "other")}  # the same images
    one, other = (
        ComponentConfig("image_folder", {"root": root, "streaming": value})
        for root, value in zip(roots.values(), streaming, strict=True)
    )
    with pytest.raises(UserError, match=r"^validation: these are test images, at least in part"):
        data.load(DataConfig(one, validation=ValidationConfig(source=other)))


def test_few_equal_images_are_not_refused(tmp_path, monkeypatch):
    root = plain_folder(tmp_path / "one")
    other = write_folder(
        tmp_path / "other", {f"{part}/cat/{row}": pixels(100 + row) for part in ("train", "val") for row in range(4)}
    )
    write_folder(other, {"val/cat/9": pixels(6)})  # the test image of a cat
    monkeypatch.setattr(validation, "_DUPLICATES", 0.5)
    for streaming in (True, False):
        source = ComponentConfig("image_folder", {"root": str(root), "streaming": streaming})
        held_out = ValidationConfig(
            source=ComponentConfig("image_folder", {"root": str(other), "streaming": not streaming})
        )
        assert len(data.load(DataConfig(source, validation=held_out)).validation) == 5
