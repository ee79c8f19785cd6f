import pyarrow as pa
import pytest

from smskd import data
from smskd.errors import UserError
from tests.support.parquet_files import NAMES, pixels, png, write


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
