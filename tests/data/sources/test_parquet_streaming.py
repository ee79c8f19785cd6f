"""Parquet files whose images are streamed, out of copies in which each can be found."""

import os
import shutil

import pytest
import torch

from smskd import data
from smskd.config.augmentation import AugmentationConfig, RandomResizedCropConfig
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, LoaderConfig, SubsetConfig
from smskd.data.loaders.make import make_loader
from smskd.data.sources import parquet_copies, parquet_images
from smskd.errors import UserError
from tests.support.parquet_files import NAMES, pixels, plain_parquet, png, write


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "cache"))
    return plain_parquet(tmp_path / "data")


@pytest.fixture
def copies(tmp_path):
    return lambda: sorted((tmp_path / "cache" / "parquet").iterdir())


def load(root, kind="streaming", **settings):
    return data.load(
        DataConfig(ComponentConfig("parquet", {"root": str(root)}), loader=LoaderConfig(kind=kind), **settings)
    )


def batches(dataset, epoch):
    loader = make_loader(dataset.train, 4, dataset.augmentation(), seed=3)
    return [(batch.x, batch.y, batch.index) for batch in loader.epoch(epoch)]


@pytest.mark.parametrize("subset", [SubsetConfig(), SubsetConfig(train=7, test=2, seed=5)])
def test_streamed_batches_are_those_in_memory(root, subset):
    held, streamed = load(root, "memory", subset=subset), load(root, subset=subset)
    assert isinstance(held.train, data.Images)
    assert isinstance(streamed.train, data.StreamedSamples)
    assert (streamed.mean, streamed.std, streamed.class_names) == (held.mean, held.std, held.class_names)
    for epoch in (1, 2):
        for one, other in zip(batches(held, epoch), batches(streamed, epoch), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.stack([streamed.test[row][0] for row in range(len(streamed.test))]), held.test.pixels)


def test_whole_pictures_are_cropped(root):
    crops = AugmentationConfig(random_resized_crop=RandomResizedCropConfig())
    source = ComponentConfig("parquet", {"root": str(root), "image_size": [4, 4]})
    assert data.load(DataConfig(source, augmentation=crops)).train.dataset.picture(0)[0].size == (6, 5)


def test_copies_are_made_once(root, copies, monkeypatch):
    def progress(items, total):
        found = list(items)
        seen.append((found, total))
        return found

    seen = []
    source = ComponentConfig("parquet", {"root": str(root), "streaming": True})
    data.load(DataConfig(source), track=progress)
    assert seen[:2] == [(list(range(11)), 11), (list(range(5)), 5)]
    assert len(copies()) == 3
    monkeypatch.setattr(parquet_images, "copied", None)
    load(root)


def test_files_that_have_been_changed_are_copied_anew(root, copies):
    before = load(root).train[0][0]
    write(root / "train-00000-of-00002.parquet", pixels(6, seed=9), [0, 1, 2, 0, 1, 2], names=NAMES)
    assert not torch.equal(load(root).train[0][0], before)
    assert len(copies()) == 4


def test_the_end_of_a_file_tells_apart_what_its_size_and_time_do_not(root):
    path = root / "test.parquet"
    before, place = path.stat(), parquet_copies.copy_path(path, "image")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert parquet_copies.copy_path(path, "image") != place


@pytest.mark.parametrize("length", [0, 20, -1])
def test_a_copy_that_is_not_whole_is_made_anew(root, copies, length):
    held = load(root, "memory")
    load(root)
    for copy in copies():
        copy.write_bytes(copy.read_bytes()[:length])
    assert torch.equal(load(root).train[3][0], held.train.pixels[3])


@pytest.mark.parametrize(("damage", "line"), [(lambda path: path.unlink(), "cannot be read"), (None, "damaged")])
def test_a_copy_that_is_changed_during_training(root, copies, damage, line):
    dataset = load(root)
    for copy in copies():
        (damage or (lambda path: path.write_bytes(b"")))(copy)
    with pytest.raises(UserError, match=rf"{line}.*start again"):
        dataset.train[5]


def test_a_damaged_copy_is_noticed_and_made_anew(root, copies):
    held = load(root, "memory")
    load(root)
    copy, *_ = [copy for copy in copies() if copy.name.startswith("train")]
    content = bytearray(copy.read_bytes())
    content[0] ^= 1
    copy.write_bytes(content)
    with pytest.raises(UserError, match=r"train-.*\.images, a copy of images, is damaged and was removed; start again"):
        load(root)
    again = load(root).train
    assert torch.equal(torch.stack([again[row][0] for row in range(len(again))]), held.train.pixels)


def test_unfinished_copies_are_removed_if_they_are_old(root, copies, tmp_path):
    load(root)
    first = copies()[0]
    old, new = (first.with_name(f".{first.name}.{number}.tmp") for number in (1, 2))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    first.unlink()
    load(root)
    assert first.exists()
    assert new.exists()
    assert not old.exists()


def test_an_empty_cell_is_named(root):
    write(root / "train-00001-of-00002.parquet", [png(pixels(1)[0]), None], [0, 1], names=NAMES)
    with pytest.raises(UserError, match=r"train-00001-of-00002\.parquet, row 1: the cell holds no bytes"):
        load(root)


def test_images_with_too_many_bytes_are_refused(root, monkeypatch):
    dataset = load(root)
    monkeypatch.setattr(parquet_images, "encoded_limit", lambda pixels: 10)
    with pytest.raises(UserError, match=r"row 0: the image has \d+ bytes, too many for"):
        dataset.train[0]


@pytest.mark.parametrize("free", [0, 10_000])
def test_a_disk_without_room(root, copies, monkeypatch, free):
    """10,000 bytes are enough for what the file says, and too few for the cells, which are stored once."""
    image = png(pixels(1, size=(40, 40))[0])
    write(root / "test.parquet", [image] * 8, [0] * 8, names=NAMES, group=8)
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(parquet_copies.shutil, "disk_usage", lambda path: usage(10**9, 10**9 - free, free))
    with pytest.raises(UserError, match=r"parquet has no room for the images of .*SMSKD_CACHE"):
        load(root)
    assert not [path for path in copies() if "tmp" in path.name]


def test_a_folder_that_cannot_be_written(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written: .*set SMSKD_CACHE to another folder"):
        load(root)
