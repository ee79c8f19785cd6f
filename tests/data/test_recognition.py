"""Folders and the sources that read them."""

import pytest

from smskd import data
from smskd.data.recognition import recognised
from smskd.errors import UserError
from tests.support.imagenet_files import write_devkit, write_train, write_validation
from tests.support.labelled_folders import plain_folder
from tests.support.parquet_files import pixels, write
from tests.support.tiny_imagenet_files import IDS, write_tiny_imagenet


def test_image_folder(tmp_path):
    source = recognised(plain_folder(tmp_path))
    assert source == {"name": "image_folder", "root": str(tmp_path)}
    assert data.load(source["name"], root=source["root"]).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "place", ["train.parquet", "train-00000-of-00001.parquet", "data/train.parquet", "train/0.parquet"]
)
def test_parquet(tmp_path, place):
    write(tmp_path / place, pixels(2), [0, 1])
    write(tmp_path / place.replace("train", "test"), pixels(2, seed=1), [0, 1])
    source = recognised(tmp_path)
    assert source == {"name": "parquet", "root": str(tmp_path)}
    assert len(data.load("parquet", root=source["root"]).train) == 2


@pytest.mark.parametrize(("name", "folder"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_cifar_by_its_folder_or_the_one_around_it(tmp_path, monkeypatch, name, folder):
    (tmp_path / folder).mkdir()
    assert recognised(tmp_path) == recognised(tmp_path / folder) == {"name": name, "root": str(tmp_path)}
    monkeypatch.chdir(tmp_path / folder)
    assert recognised(type(tmp_path)(".")) == {"name": name, "root": str(tmp_path)}


def test_tiny_imagenet_looks_like_an_image_folder(tmp_path):
    source = recognised(write_tiny_imagenet(tmp_path))
    assert source == {"name": "tiny_imagenet", "root": str(tmp_path)}
    assert data.load(source["name"], root=source["root"]).classes == len(IDS)


def test_imagenet_by_validation_images_without_class_folders(tmp_path):
    for root, sorted_into_folders in ((tmp_path / "sorted", True), (tmp_path / "flat", False)):
        write_train(root)
        write_validation(root, sorted_into_folders)
    write_devkit(tmp_path / "flat" / "ILSVRC2012_devkit_t12")
    assert recognised(tmp_path / "sorted") == {"name": "image_folder", "root": str(tmp_path / "sorted")}
    assert recognised(tmp_path / "flat") == {"name": "imagenet", "root": str(tmp_path / "flat")}
    assert data.load("imagenet", root=tmp_path / "flat").classes == 3


def test_folders_that_are_not_recognised(tmp_path):
    with pytest.raises(
        UserError, match=r"is not recognised .* image folders .* Parquet files .* CIFAR.*; give a recipe$"
    ):
        recognised(tmp_path)
    (tmp_path / "cifar-100-python").mkdir()
    plain_folder(tmp_path)
    with pytest.raises(UserError, match=r"is read by several data sources \(image_folder, cifar100\); give a recipe"):
        recognised(tmp_path)
