"""Files that are damaged, or made to exhaust memory or to run code, end in one line."""

import io
import os
import pickle
import zlib

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from torchvision import datasets

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.data import memory
from smskd.errors import UserError
from tests.support.parquet_files import NAMES, pixels, write


def refused(source, root, message, **options):
    with pytest.raises(UserError, match=message) as caught:
        data.load(source, root=root, **options)
    assert "\n" not in str(caught.value)


def bomb(side):
    """A white image of one bit a pixel in some kilobytes."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG", optimize=True)
    return file.getvalue()


@pytest.mark.parametrize("label", [10**8, 10**12, 2**62])
def test_a_label_that_numbers_no_class(tmp_path, label):
    write(tmp_path / "train.parquet", pixels(4), [0, 1, label, 1])
    write(tmp_path / "test.parquet", pixels(2), [0, 1])
    refused(
        "parquet", tmp_path, rf"train.parquet, row 2 has label {label}, which makes {label + 1} classes for 4 images"
    )


def test_a_test_label_that_numbers_no_class(tmp_path):
    write(tmp_path / "train.parquet", pixels(2), [0, 1])
    write(tmp_path / "test.parquet", pixels(2), [0, 10**12])
    refused("parquet", tmp_path, r"test.parquet, row 1 has label 1000000000000; with 2 classes labels are 0 to 1$")


def test_a_label_beyond_int64(tmp_path):
    write(tmp_path / "train.parquet", pixels(2), pa.array([0, 2**63 + 5], pa.uint64()))
    write(tmp_path / "test.parquet", pixels(2), [0, 1])
    refused("parquet", tmp_path, "train.parquet cannot be read as Parquet: .*9223372036854775813")


@pytest.mark.parametrize("place", [0, 1])
def test_a_decompression_bomb(tmp_path, place):
    before = Image.MAX_IMAGE_PIXELS
    cells = list(pixels(3))
    cells[place] = bomb(8200)
    assert len(cells[place]) < 50_000
    for part in ("train", "test"):
        write(
            tmp_path / f"{part}.parquet", cells if part == "train" else pixels(1), [0] * (3 if part == "train" else 1)
        )
    refused("parquet", tmp_path, f"row {place}: the image is 8200x8200, more than 67108864 pixels; raise max_pixels to")
    limit = 100 if place else 8200 * 8200
    refused("parquet", tmp_path, "row 1: the image is ", max_pixels=limit)
    assert before == Image.MAX_IMAGE_PIXELS


def test_max_pixels_accepts_larger_images(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", [pixels(1, size=(40, 30))[0]] * 2, [0, 1])
    refused("parquet", tmp_path, "row 0: the image is 40x30, more than 1000 pixels", max_pixels=1000)
    assert data.load("parquet", root=tmp_path, max_pixels=1200).shape == (3, 40, 30)
    refused("parquet", tmp_path, "^data.source.max_pixels: must be .* 178956970", max_pixels=10**9)


def test_text_that_decompresses_to_gigabytes(tmp_path):
    def chunk(kind, content):
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    file = io.BytesIO()
    Image.fromarray(pixels(1)[0]).save(file, "PNG")
    content = file.getvalue()
    text = chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(2**27), 9))
    write(tmp_path / "train.parquet", [content[:33] + text + content[33:]] * 2, [0, 1])
    write(tmp_path / "test.parquet", pixels(1), [0])
    refused("parquet", tmp_path, r"row 0: the image cannot be decoded \(Decompressed data too large")


def test_other_programs_are_not_started(tmp_path):
    write(tmp_path / "train.parquet", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"] * 2, [0, 1])
    write(tmp_path / "test.parquet", pixels(1), [0])
    refused("parquet", tmp_path, r"row 0: the image cannot be decoded \(no known image format\)$")


def test_damaged_pages(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", pixels(50), [0, 1] * 25, names=NAMES)
    path = tmp_path / "train.parquet"
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(bytes(content))
    refused("parquet", tmp_path, "train.parquet(, row 0: the image cannot be decoded| cannot be read as Parquet: )")


def test_images_larger_than_memory(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", pixels(100), [0, 1] * 50)
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for row in range(50):
                Image.fromarray(pixels(1)[0]).save(tmp_path / part / name / f"{row}.png")
    monkeypatch.setattr(memory, "available_memory", lambda: 9_000)  # labels need 3,200 bytes, images 9,000
    message = (
        r"^the training images \(100 of 3x6x5\) need .* of memory, and .* are available; take a smaller image_size or"
    )
    refused("parquet", tmp_path, message)
    refused("image_folder", tmp_path, message)
    smaller = SubsetConfig(train=10, test=10)
    monkeypatch.setattr(memory, "available_memory", lambda: 20_000)
    assert len(data.load("parquet", root=tmp_path, subset=smaller).train) == 10
    monkeypatch.setattr(memory, "available_memory", lambda: 3_000)
    refused(
        "parquet", tmp_path, "train.parquet: the labels need .*; the file is damaged, or too large for this machine$"
    )


def test_sizes_that_no_machine_has(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", pixels(2), [0, 1])
    size = {"image_size": [10**7, 10**7]}
    needed = r"^2 images of 3x10000000x10000000, as bytes and as float32, need .* available; take a smaller image_size$"
    refused("parquet", tmp_path, needed, **size)
    refused("parquet", tmp_path, needed, streaming=True, **size)
    refused(
        "parquet",
        tmp_path,
        r"^the training images \(2 of 3x10000000x10000000\) need ",
        streaming=False,
        **size,
    )


def test_streamed_images_of_a_folder_that_no_machine_can_hold(tmp_path):
    folder_of_images(tmp_path)
    refused("image_folder", tmp_path, "^2 images of 3x10000000x10000000, as bytes", image_size=[10**7, 10**7])


def folder_of_images(root):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            Image.fromarray(pixels(1)[0]).save(root / part / name / "0.png")
    return root / "train" / "cat"


def test_links_in_a_circle(tmp_path):
    cat = folder_of_images(tmp_path)
    for name in "abcdefgh":
        (cat / name).mkdir()
        Image.fromarray(pixels(1)[0]).save(cat / name / "1.png")
        for other in "abcdefgh":
            (cat / name / f"to_{other}").symlink_to(cat / other)
        (cat / name / "up").symlink_to(tmp_path / "train")
    found = data.load("image_folder", root=tmp_path)
    # Each folder once: nine images of the cat, and that of the dog, which lies below the cat as well by the links.
    assert found.train.labels.bincount().tolist() == [10, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("nowhere.png"), "x.png is not a file, or a broken link$"),
        (lambda path: os.mkfifo(path), "x.png is not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "x.png is not a file"),
        (lambda path: path.write_bytes(b""), r"x.png: the image cannot be decoded \(no known image format\)$"),
        (
            lambda path: path.open("wb").truncate(2**31),
            "x.png has 2147483648 bytes, too many for an image of 67108864 pix",
        ),
    ],
)
def test_files_that_are_no_images(tmp_path, make, message):
    make(folder_of_images(tmp_path) / "x.png")
    refused("image_folder", tmp_path, message)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_not_left_out(tmp_path):
    cat = folder_of_images(tmp_path)
    cat.chmod(0)
    try:
        refused("image_folder", tmp_path, "cat cannot be read: Permission denied$")
    finally:
        cat.chmod(0o755)


def test_a_folder_that_fails_is_not_left_out(tmp_path, monkeypatch):
    folder_of_images(tmp_path)
    original = os.scandir

    def fail(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", fail)
    refused("image_folder", tmp_path, "train/cat cannot be read: Permission denied$")


class Planted:
    def __reduce__(self):
        return os.mkdir, ("PWNED",)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_archives_other_than_the_published_are_not_unpickled(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader = getattr(datasets, name.upper())
    folder = tmp_path / reader.base_folder
    folder.mkdir()
    for file, _ in (*reader.train_list, *reader.test_list, (reader.meta["filename"], None)):
        (folder / file).write_bytes(pickle.dumps(Planted()))
    refused(name, tmp_path, f"^{name}: no complete files in ")
    assert not (tmp_path / "PWNED").exists()


def test_class_names_in_another_order(tmp_path):
    """Training shards and test files, each of which numbers its classes in its own order."""
    cells = [np.full((2, 2, 3), 10 * value, np.uint8) for value in range(3)]
    write(tmp_path / "train-0-of-2.parquet", cells, [0, 1, 2], names=["cat", "dog", "owl"])
    write(tmp_path / "train-1-of-2.parquet", cells, [1, 2, 0], names=["owl", "cat", "dog"])
    write(tmp_path / "test.parquet", cells, [2, 1, 0], names=["owl", "dog", "cat"])
    found = data.load("parquet", root=tmp_path)
    assert found.class_names == ("cat", "dog", "owl")
    assert found.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.test.labels.tolist() == [0, 1, 2]
    write(tmp_path / "test.parquet", cells, [2, 1, 0], names=["owl", "dog", "eel"])
    refused("parquet", tmp_path, r"test.parquet: class 'eel' is not among the 3 classes of the training images$")
    write(tmp_path / "test.parquet", cells, [2, 3, 0], names=["owl", "dog", "cat"])
    refused("parquet", tmp_path, r"test.parquet, row 1 has label 3; with 3 classes labels are 0 to 2$")
