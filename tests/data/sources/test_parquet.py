import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.data.sources.parquet import parquet
from smskd.data.sources.parquet_reading import read_cells
from smskd.errors import UserError
from tests.support.parquet_files import NAMES, arrays, metadata, pixels, png, write


@pytest.mark.parametrize("struct", [True, False])
def test_images_labels_and_names(tmp_path, struct):
    train, test = pixels(11), pixels(5, seed=1)
    write(tmp_path / "train.parquet", train, [row % 3 for row in range(11)], names=NAMES, struct=struct)
    write(tmp_path / "test.parquet", test, [2, 1, 0, 1, 2], names=NAMES, struct=struct)
    dataset = data.load("parquet", root=tmp_path)
    assert np.array_equal(arrays(dataset.train), train)
    assert np.array_equal(arrays(dataset.test), test)
    assert dataset.train.labels.tolist() == [row % 3 for row in range(11)]
    assert dataset.test.labels.tolist() == [2, 1, 0, 1, 2]
    assert dataset.class_names == ("cat", "dog", "owl")
    assert dataset.mean == pytest.approx((train / 255).mean((0, 1, 2)).tolist())
    assert dataset.std == pytest.approx((train / 255).std((0, 1, 2)).tolist())


def test_without_metadata_classes_are_numbered(tmp_path):
    write(tmp_path / "train.parquet", pixels(4), [0, 3, 1, 1], image="img", label="labels")
    write(tmp_path / "test.parquet", pixels(1), [2], image="img", label="labels")
    assert data.load("parquet", root=tmp_path).class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], ["test-00000-of-00001.parquet"]),
        (["data/train-00000-of-00001-abc.parquet"], ["data/validation-00000-of-00001-def.parquet"]),
        (["train/one.parquet", "train/two.parquet"], ["test/0.parquet"]),
        (["train.parquet"], ["validation.parquet"]),
        (["plain/train/0.parquet"], ["plain/val/0.parquet"]),
        (["train_0.parquet", "train_1.parquet"], ["test.parquet", "validation.parquet"]),
    ],
)
def test_where_files_may_lie(tmp_path, train, test):
    for place, name in enumerate(train):
        write(tmp_path / name, pixels(5, seed=place), [place] * 5, names=NAMES)
    for place, name in enumerate(test):
        write(tmp_path / name, pixels(3, seed=9 + place), [place] * 3, names=NAMES)
    dataset = data.load("parquet", root=tmp_path)
    expected = np.concatenate([pixels(5, seed=place) for place in range(len(train))])
    assert np.array_equal(arrays(dataset.train), expected)
    assert np.array_equal(arrays(dataset.test), pixels(3, seed=9))


def test_a_name_that_only_begins_alike_is_another(tmp_path):
    write(tmp_path / "training.parquet", pixels(2), [0, 1])
    with pytest.raises(UserError, match="has no Parquet files called train"):
        data.load("parquet", root=tmp_path)


def test_a_limit_takes_the_part_that_subset_takes(tmp_path):
    for shard in range(2):
        labels = [row % 3 for row in range(10)]
        write(tmp_path / f"train-{shard}-of-2.parquet", pixels(10, seed=shard), labels, names=NAMES)
    write(tmp_path / "test.parquet", pixels(6, seed=5), [0] * 6, names=NAMES)
    whole = data.load("parquet", root=tmp_path)
    part = data.load("parquet", root=tmp_path, subset=SubsetConfig(train=7, test=1, seed=3))
    assert part.train.fingerprint() == whole.train.subset(7, 3).fingerprint()
    assert part.test.fingerprint() == whole.test.subset(1, 3).fingerprint()
    assert (part.mean, part.std) == (whole.mean, whole.std)


def test_groups_without_a_wanted_row_are_not_read(tmp_path, monkeypatch):
    file = tmp_path / "x.parquet"
    write(file, pixels(20), [0] * 20, group=4)
    read = []
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *args, **more: read.append(more["row_groups"]) or original(*args, **more)
    )
    cells = [cell for cells in read_cells(file, "image", torch.tensor([1, 3, 17])) for cell in cells]
    assert [row for row, _ in cells] == [1, 3, 17]
    assert [content for _, content in cells] == [png(pixels(20)[row]) for row in (1, 3, 17)]
    assert read == [[0], [4]]


def test_columns_that_the_metadata_names(tmp_path):
    features = {
        "photo": {"_type": "Image"},
        "coarse_label": {"_type": "ClassLabel", "names": ["animal"]},
        "fine_label": {"_type": "ClassLabel", "names": NAMES},
    }
    cells = pa.array([png(image) for image in pixels(3)], pa.large_binary())
    columns = {"photo": cells, "coarse_label": pa.array([0] * 3), "fine_label": pa.array([2, 1, 0])}
    table = pa.table(columns).replace_schema_metadata(metadata(**features))
    for part in ("train", "test"):
        pq.write_table(table, tmp_path / f"{part}.parquet")
    fine = data.load("parquet", root=tmp_path)
    assert (fine.train.labels.tolist(), fine.class_names) == ([2, 1, 0], tuple(NAMES))
    coarse = data.load("parquet", root=tmp_path, label_column="coarse_label")
    assert (coarse.train.labels.tolist(), coarse.class_names) == ([0] * 3, ("animal",))


def test_gray_and_resized(tmp_path):
    sizes = [(6, 5), (4, 4), (12, 10)]
    for part in ("train", "test"):
        images = [pixels(1, size=size)[0] for size in sizes]
        write(tmp_path / f"{part}.parquet", images, [0, 1, 2], names=NAMES)
    dataset = data.load("parquet", root=tmp_path, image_size=[6, 5], channels=1)
    assert dataset.shape == (1, 6, 5)
    assert len(dataset.mean) == 1
    gray = [Image.fromarray(pixels(1, size=size)[0]).convert("L") for size in sizes]
    expected = [np.asarray(image.resize((5, 6), Image.Resampling.BILINEAR)) for image in gray]
    assert np.array_equal(dataset.train.pixels[:, 0].numpy(), np.stack(expected))


def test_gray_images_become_rgb(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", [pixels(1)[0, :, :, 0], pixels(1)[0]], [0, 1])
    images = data.load("parquet", root=tmp_path).train.pixels
    assert torch.equal(images[0, 0], images[0, 2])
    assert not torch.equal(images[1, 0], images[1, 2])


def test_many_images_keep_their_places_and_progress_is_reported(tmp_path):
    many = pixels(150, size=(2, 2))
    write(tmp_path / "train.parquet", many, [0] * 150, group=100)
    write(tmp_path / "test.parquet", many[:3], [0] * 3)
    calls = []

    def track(iterable, total):
        done = list(iterable)
        calls.append((done, total))
        return done

    dataset = data.load("parquet", root=tmp_path, track=track)
    assert np.array_equal(arrays(dataset.train), many)
    assert calls == [(list(range(150)), 150), (list(range(3)), 3)]


def shared_cifar10():
    shared = os.environ.get("SMSKD_SHARED") or Path(__file__).parents[4] / "shared"
    return Path(shared) / "data" / "cifar10"


@pytest.mark.skipif(not shared_cifar10().is_dir(), reason="SMSKD_SHARED names no folder with data/cifar10")
def test_real_cifar10():
    dataset = parquet(shared_cifar10(), subset=SubsetConfig(train=300, test=100))
    assert dataset.class_names[:3] == ("airplane", "automobile", "bird")
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (300, 100, (3, 32, 32))
    # Within four standard errors or so of the published statistics of all 50,000 images.
    assert dataset.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.04)
    assert dataset.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.02)
    assert torch.bincount(dataset.train.labels, minlength=10).min() > 10
