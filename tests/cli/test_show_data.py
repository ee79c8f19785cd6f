"""`smskd data`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smskd.data import encoded_contents
from tests.support.labelled_folders import pixels, plain_folder, write_folder
from tests.support.parquet_files import write
from tests.support.program import everything_in, fine, mistake, smskd
from tests.support.tiny_imagenet_files import IDS, save, write_tiny_imagenet


def test_a_recipe(here: Path) -> None:
    words = ("data", "digits/kd", "data.subset.train=100", "data.validation.count=20")
    facts = json.loads(fine(*words, "--json"))
    assert {name: part["images"] for name, part in facts["parts"].items()} == {
        "train": 80,
        "validation": 20,
        "test": facts["parts"]["test"]["images"],
    }
    assert facts["class_names"] == [str(digit) for digit in range(10)]
    printed = fine(*words)
    assert printed.startswith("digits: ")
    assert "  size           8x8" in printed
    assert "held out of the training images: 20, drawn with seed 0" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 80
    assert everything_in(here) == {}


def test_duplicates_in_a_folder(here: Path) -> None:
    folder = plain_folder(here / "birds")
    same, other = pixels(100), pixels(101)
    write_folder(folder, {"train/cat/8": same, "train/cat/9": same, "val/cat/9": same})
    write_folder(folder, {"train/cat/7": other, "train/dog/7": other})
    facts = json.loads(fine("data", "birds", "--json"))
    equal = facts["duplicates"]
    assert equal["within"] == {"train": 2, "test": 0}
    assert equal["between"] == [{"part": "train", "other": "test", "images": 1}]
    assert equal["two_labels"] == 1
    ((first, second),) = equal["two_labels_examples"]
    assert (first["file"], first["class"]) == ("birds/train/cat/7.png", "cat")
    assert (second["file"], second["class"]) == ("birds/train/dog/7.png", "dog")
    assert facts["origins"] == {"train": "birds/train", "test": "birds/val"}
    printed = fine("data", "birds")
    joined = " ".join(printed.split())
    assert "2 of 10 images repeat another" in joined
    assert "1 of 3 images of test are in train" in joined
    assert "birds/train/cat/7.png (cat) = birds/train/dog/7.png (dog)" in joined
    assert max(map(len, printed.splitlines())) <= 80


def test_images_of_several_sizes_are_described_without_a_size(here: Path) -> None:
    write_folder(plain_folder(here / "birds"), {"train/dog/9": pixels(100, (9, 4)), "val/dog/9": pixels(100, (9, 4))})
    facts = json.loads(fine("data", "birds", "--json"))
    assert facts["parts"]["train"]["sizes"] == {"6x5": 6, "9x4": 1}
    assert facts["needs_image_size"]
    assert facts["normalisation"] is None
    assert facts["duplicates"]["between"][0]["images"] == 1
    assert "training needs data.source.image_size" in fine("data", "birds")
    resized = fine("data", "birds", "data.source.image_size=[6,5]")
    assert "  size of files  6x5 (8 images), 9x4 (2 images)" in resized
    assert "training needs" not in resized


def test_unusual_files(here: Path) -> None:
    folder = plain_folder(here / "birds")
    gray = pixels(100)[:, :, 0]
    write_folder(folder, {"train/cat/gray": gray, "train/cat/deep": np.arange(30, dtype=np.uint16).reshape(6, 5) * 999})
    Image.fromarray(pixels(101)).convert("P").save(folder / "train/dog/palette.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels(102, (5, 6))).save(folder / "train/dog/turned.png", exif=turned)
    files = json.loads(fine("data", "birds", "--json"))["files"]
    assert files["odd"] == {"grayscale": 2, "16 bits a channel": 1, "palette": 1, "turned by EXIF": 1}
    assert files["examples"]["turned by EXIF"] == "birds/train/dog/turned.png"
    assert files["sizes"] == {"6x5": 12}
    assert "files: grayscale 2 of 12, first birds/train/cat/deep.png" in " ".join(fine("data", "birds").split())


def test_a_limited_look_at_the_files_is_stated(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_contents, "EXAMINED", 4)
    plain_folder(here / "birds")
    assert fine("data", "birds").splitlines()[-1].startswith("Only 4 of 8 files, evenly spread, were examined")


def test_parquet_with_many_classes(here: Path) -> None:
    names = [f"n{number:08}" for number in range(25)]
    for part, rows in (("train", 30), ("test", 25)):
        labels = [row % 25 for row in range(rows)]
        write(
            here / "hub" / "data" / f"{part}.parquet",
            [pixels(len(part) + row) for row in range(rows)],
            labels,
            names=names,
        )
    (here / "hub" / "words.txt").write_text("n00000000\tgoldfish, Carassius auratus\nn99999999\tno class of these\n")
    printed = " ".join(fine("data", "hub").split())
    assert (
        "names n00000000 (goldfish, Carassius auratus), n00000001, n00000002, ..., n00000024 (all: --classes)"
        in printed
    )
    assert "n00000013" not in printed
    assert f"train 30 1 to 2 {Path('hub/data/train.parquet')}" in printed
    every = fine("data", "hub", "--classes")
    assert all(name in every for name in names)
    assert max(map(len, every.splitlines())) <= 80


def test_tiny_imagenet(here: Path) -> None:
    folder = write_tiny_imagenet(here / "tiny")
    save(folder / "train" / IDS[0] / "images" / "again.JPEG", seed=1000)  # the first one of the next class
    save(folder / "train" / IDS[1] / "images" / "gray.JPEG", seed=7, mode="L")
    facts = json.loads(fine("data", "tiny", "--json"))
    assert facts["source"]["name"] == "tiny_imagenet"
    assert facts["origins"] == {"train": "tiny/train", "test": "tiny/val"}
    assert facts["duplicates"]["two_labels"] == 1
    assert facts["parts"]["train"]["grayscale"] == 1
    assert facts["parts"]["train"]["class_counts"] == [5, 4, 5]


def test_a_saved_dataset_dict(here: Path) -> None:
    pytest.importorskip("datasets")
    from tests.support.hub_folders import NAMES, save, split

    images = [pixels(seed) for seed in range(5)]
    save(here / "saved", train=split(images[:4], [0, 1, 2, 0]), validation=split(images[3:], [0, 1]))
    outcome = smskd("data", "saved", "--json")
    assert outcome.code == 0, outcome
    facts = json.loads(outcome.out)
    assert facts["source"] == {"name": "hf", "dataset": "saved"}
    assert facts["origins"] == {"train": "split train of saved", "test": "split validation of saved"}
    assert facts["class_names"] == list(NAMES)
    assert facts["duplicates"]["between"] == [{"part": "train", "other": "test", "images": 1}]


OWN_SOURCE = """
import torch

def samples(count, seed):
    images = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return [(image, row % 3) for row, image in enumerate(images)]

def source():
    return {"train": samples(9, 0), "test": samples(6, 1)}
"""


def test_a_streamed_source_of_ones_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "own_streamed_source.py").write_text(OWN_SOURCE)
    monkeypatch.syspath_prepend(here)
    printed = fine("data", "digits/plain", "data={source: 'own_streamed_source:source'}")
    assert printed.startswith("own_streamed_source:source: 15 images of 3 classes\n")
    assert "if it were loaded" in printed
    assert "  measured       mean 0." in printed


def test_mistakes(here: Path) -> None:
    assert mistake("data", ".").startswith(". is not recognised as a data set: there are neither image folders")
    assert mistake("data", "nosuch").startswith("nosuch: no such recipe file")
    assert mistake("data", "").startswith("the name of a recipe is empty")
    plain_folder(here / "birds")
    assert mistake("data", "birds", "data.source.roots=x") == (
        "data.source.roots: unknown option of image_folder; did you mean 'root'?"
    )
    (here / "birds" / "val" / "dog" / "0.png").write_bytes(b"no image")
    assert mistake("data", "birds").startswith("data: birds/val/dog/0.png: the image cannot be decoded")
    (here / "birds" / "val" / "owl").mkdir()
    assert mistake("data", "birds").startswith("data: birds/val/owl has no images")
