import io
import json
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
from smskd.errors import UserError

NAMES = ["cat", "dog", "owl"]


def pixels(n, seed=0, size=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def metadata(**features):
    return {"huggingface": json.dumps({"info": {"features": features}})}


def write(path, images, labels, image="image", label="label", names=None, struct=True, group=4, **more):
    """A Parquet file as the hub has them; ``images`` are arrays, or bytes as they shall stand there."""
    cells = [cell if cell is None or isinstance(cell, bytes) else png(cell) for cell in images]
    binary = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if struct else pa.binary()
    column = pa.array([{"bytes": cell, "path": None} for cell in cells] if struct else cells, binary)
    columns = {image: column, label: pa.array(labels), **more}
    table = pa.table(columns)
    if names:
        told = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata(metadata(**told))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)


def arrays(images):
    return images.pixels.permute(0, 2, 3, 1).numpy()


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


def test_a_limit_takes_the_part_that_subset_takes_and_reads_no_more(tmp_path, monkeypatch):
    for shard in range(2):
        labels = [row % 3 for row in range(10)]
        write(tmp_path / f"train-{shard}-of-2.parquet", pixels(10, seed=shard), labels, names=NAMES)
    write(tmp_path / "test.parquet", pixels(6, seed=5), [0] * 6, names=NAMES)
    whole = data.load("parquet", root=tmp_path)
    read = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda *args, **more: read.append(args[1]) or original(*args, **more),
    )
    part = data.load("parquet", root=tmp_path, subset=SubsetConfig(train=7, test=1, seed=3))
    assert part.train.fingerprint() == whole.train.subset(7, 3).fingerprint()
    assert part.test.fingerprint() == whole.test.subset(1, 3).fingerprint()
    read.clear()
    data.load("parquet", root=tmp_path, subset=SubsetConfig(train=1, test=1))
    # Of eight groups: the training image's for its size and for its pixels, and the test image's.
    assert len(read) == 3


def test_columns_that_the_metadata_names(tmp_path):
    told = {
        "photo": {"_type": "Image"},
        "coarse_label": {"_type": "ClassLabel", "names": ["animal"]},
        "fine_label": {"_type": "ClassLabel", "names": NAMES},
    }
    cells = pa.array([png(image) for image in pixels(3)], pa.large_binary())
    columns = {"photo": cells, "coarse_label": pa.array([0] * 3), "fine_label": pa.array([2, 1, 0])}
    table = pa.table(columns).replace_schema_metadata(metadata(**told))
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
    told = []

    def track(iterable, total):
        done = list(iterable)
        told.append((done, total))
        return done

    dataset = data.load("parquet", root=tmp_path, track=track)
    assert np.array_equal(arrays(dataset.train), many)
    assert told == [(list(range(150)), 150), (list(range(3)), 3)]


def one_bad(cell, row=5):
    cells = list(pixels(7))
    cells[row] = cell
    return cells


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            one_bad(b"no image"),
            [0] * 7,
            r"train.parquet, row 5: .*cannot be decoded \(no known image format\)$",
        ),
        (one_bad(png(pixels(1)[0])[:60]), [0] * 7, r"train.parquet, row 5: the image cannot be decoded \("),
        (one_bad(None), [0] * 7, "train.parquet, row 5: the cell holds no bytes"),
        (one_bad(b"no image", row=0), [0] * 7, "train.parquet, row 0: "),
        (
            one_bad(pixels(1, size=(9, 8))[0]),
            [0] * 7,
            "row 5: the image is 9x8, the first training image 6x5; give image_size",
        ),
        (
            pixels(7),
            [0, 1, 2, 0, 1, 3, 7],
            "train.parquet, row 5 has label 3; with 3 classes labels are 0 to 2$",
        ),
        (pixels(7), [0, 1, 2, 0, -1, 3, 7], "train.parquet, row 4 has label -1"),
        (pixels(7), [0, 1, None, 0, 1, 2, 0], "train.parquet, row 2 has no label"),
        (pixels(7), ["cat"] * 7, "column 'label' holds string, not integers; set label_column$"),
        (pixels(7), [0.0] * 7, "column 'label' holds double"),
    ],
)
def test_bad_cells_are_named(tmp_path, images, labels, message):
    write(tmp_path / "train.parquet", images, labels, names=NAMES)
    write(tmp_path / "test.parquet", pixels(2), [0, 1], names=NAMES)
    with pytest.raises(UserError, match=message) as caught:
        data.load("parquet", root=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_bad_cell_in_a_later_shard_and_group_is_named_by_its_own_file(tmp_path):
    write(tmp_path / "train-0-of-2.parquet", pixels(7), [0] * 7)
    write(tmp_path / "train-1-of-2.parquet", one_bad(b"no image"), [0] * 7)
    write(tmp_path / "test.parquet", pixels(2), [0, 0])
    with pytest.raises(UserError, match=r"train-1-of-2.parquet, row 5: "):
        data.load("parquet", root=tmp_path)


def test_a_test_label_beyond_the_training_classes(tmp_path):
    write(tmp_path / "train.parquet", pixels(2), [0, 1])
    write(tmp_path / "test.parquet", pixels(2), [0, 2])
    with pytest.raises(UserError, match=r"test.parquet, row 1 has label 2; with 2 classes"):
        data.load("parquet", root=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "imgae"}, r"has no column 'imgae'; did you mean 'image'\?$"),
        ({"label_column": "klass"}, "has no column 'klass'; choose from image, label$"),
        (
            {"image_column": "label"},
            "column 'label' holds int64, not the bytes of images; set image_column$",
        ),
        ({"channels": 4}, "^data.source.channels: must be 1 or 3, not 4$"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", pixels(2), [0, 1])
    with pytest.raises(UserError, match=message):
        data.load("parquet", root=tmp_path, **options)


def test_columns_that_cannot_be_found(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", pixels(2), [0, 1], image="a", label="b")
    with pytest.raises(UserError, match=r"train.parquet: set image_column; the columns are a, b$"):
        data.load("parquet", root=tmp_path)
    assert len(data.load("parquet", root=tmp_path, image_column="a", label_column="b").train) == 2


def test_a_shard_without_the_columns(tmp_path):
    write(tmp_path / "train.parquet", pixels(2), [0, 1])
    write(tmp_path / "test.parquet", pixels(2), [0, 1], label="target")
    with pytest.raises(UserError, match=r"test.parquet has no column 'label'"):
        data.load("parquet", root=tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        data.load("parquet", root=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no Parquet files called train \(train.parquet"):
        data.load("parquet", root=tmp_path)
    write(tmp_path / "train-00001-of-00003.parquet", pixels(2), [0, 1])
    with pytest.raises(UserError, match="no Parquet files called test or validation"):
        data.load("parquet", root=tmp_path)
    write(tmp_path / "test.parquet", pixels(2), [0, 1])
    with pytest.raises(UserError, match=r"lacks part 0 of 3 \(counted from 0\)"):
        data.load("parquet", root=tmp_path)


def test_several_data_sets(tmp_path):
    for name in ("full", "small"):
        write(tmp_path / name / "train.parquet", pixels(2), [0, 1])
    with pytest.raises(UserError, match=r"several data sets \(full, small\)"):
        data.load("parquet", root=tmp_path)


def test_no_parquet_at_all(tmp_path):
    for part in ("train", "test"):
        (tmp_path / f"{part}.parquet").write_text("hello")
    with pytest.raises(UserError, match=r"train.parquet cannot be read as Parquet"):
        data.load("parquet", root=tmp_path)


def test_no_rows(tmp_path):
    write(tmp_path / "train.parquet", [], pa.array([], pa.int64()))
    write(tmp_path / "test.parquet", pixels(1), [0])
    with pytest.raises(UserError, match=r"train.parquet has no rows"):
        data.load("parquet", root=tmp_path)


def test_sizes_of_train_and_test(tmp_path):
    write(tmp_path / "train.parquet", pixels(2), [0, 1])
    write(tmp_path / "test.parquet", pixels(2, size=(8, 8)), [0, 1])
    with pytest.raises(
        UserError,
        match=r"test.parquet, row 0: the image is 8x8, the first training image 6x5; give image_size",
    ):
        data.load("parquet", root=tmp_path)


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
