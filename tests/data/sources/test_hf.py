import sys

import numpy as np
import pytest
import torch

datasets = pytest.importorskip("datasets", reason="the extra datasets is not installed")

from smskd import data  # noqa: E402
from smskd.config.data import SubsetConfig  # noqa: E402
from smskd.errors import UserError  # noqa: E402
from tests.support.hub_folders import NAMES, pixels, save, split  # noqa: E402

TRAIN, TEST = pixels(6, seed=1), pixels(4, seed=2)
TRAIN_LABELS, TEST_LABELS = [0, 1, 2, 2, 1, 0], [2, 0, 1, 2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "birds"
    return save(path, train=split(TRAIN, TRAIN_LABELS), test=split(TEST, TEST_LABELS))


def load(folder, **options):
    return data.load("hf", dataset=str(folder), **options)


def refused(folder, message, **options):
    with pytest.raises(UserError, match=message) as caught:
        load(folder, **options)
    assert "\n" not in str(caught.value)


def array(images):
    return images.permute(0, 2, 3, 1).numpy()


def test_images_labels_and_names(folder):
    dataset = load(folder)
    assert dataset.class_names == NAMES
    assert np.array_equal(array(dataset.train.pixels), np.stack(TRAIN))
    assert np.array_equal(array(dataset.test.pixels), np.stack(TEST))
    assert dataset.train.labels.tolist() == TRAIN_LABELS
    assert dataset.test.labels.tolist() == TEST_LABELS
    assert dataset.mean == pytest.approx((np.stack(TRAIN) / 255).mean((0, 1, 2)).tolist())


def test_streamed_images_are_those_in_memory(folder):
    subset = SubsetConfig(train=4, test=3, seed=5)
    whole = load(folder)
    for options in ({}, {"subset": subset}):
        memory, streamed = load(folder, **options), load(folder, streaming=True, **options)
        assert isinstance(streamed.train, data.StreamedSamples)
        assert (memory.mean, memory.std, memory.class_names) == (whole.mean, whole.std, whole.class_names)
        assert (streamed.mean, streamed.std, streamed.class_names) == (whole.mean, whole.std, whole.class_names)
        for one, other in ((memory.train, streamed.train), (memory.test, streamed.test)):
            assert torch.equal(one.labels, other.known_labels())
            assert all(torch.equal(one[row][0], other[row][0]) for row in range(len(one)))
    assert load(folder, subset=subset).train.fingerprint() == whole.train.subset(4, 5).fingerprint()
    (batch,) = data.StreamingLoader(streamed.test, 3, shuffle=False, workers=1).epoch(1)
    assert batch.y.tolist() == memory.test.labels.tolist()


def test_sizes_channels_and_named_columns(tmp_path):
    string, number = (datasets.Value("string"), ["x"] * 3), (datasets.Value("int64"), [5, 6, 7])
    small, large = pixels(3, 1), pixels(3, 2, (12, 10))
    folder = save(
        tmp_path / "d",
        train=split(small, [0, 1, 2], datasets.Value("int32"), ("photo", "kind"), text=string, other=number),
        validation=split(large, [1, 1, 0], datasets.Value("int32"), ("photo", "kind"), text=string, other=number),
    )
    refused(folder, "^set label_column, the column of class labels or integers; the columns are photo, kind, text, ot")
    refused(folder, "^label_column: there is no column 'kinds'; did you mean 'kind'", label_column="kinds")
    refused(folder, "^label_column: column 'text' holds no class labels or integers, but Value", label_column="text")
    refused(folder, "^image_column: column 'text' holds no images", label_column="kind", image_column="text")
    refused(folder, "d, split validation, row 0: the image is 12x10, the first training image 6x5", label_column="kind")
    dataset = load(folder, label_column="kind", image_size=[6, 5], channels=1)
    assert dataset.shape == (1, 6, 5)
    assert (dataset.class_names, dataset.test.labels.tolist()) == (("0", "1", "2"), [1, 1, 0])


def test_class_labels_come_before_numbers(tmp_path):
    number = (datasets.Value("int64"), [5, 6, 7, 5, 6, 7])
    coarse = (datasets.ClassLabel(names=["a", "b"]), [0, 1, 1, 1, 1, 0])
    parts = {
        "train": split(TRAIN, TRAIN_LABELS, None, ("img", "fine_label"), coarse_label=coarse, labels=number),
        "test": split(TRAIN, TRAIN_LABELS, None, ("img", "fine_label"), coarse_label=coarse, labels=number),
    }
    folder = save(tmp_path / "d", **parts)
    assert load(folder).class_names == NAMES
    assert load(folder, label_column="coarse_label").train.labels.tolist() == coarse[1]


def test_classes_in_another_order_are_matched_by_name(tmp_path):
    other = datasets.ClassLabel(names=["owl", "cat", "dog"])
    folder = save(tmp_path / "d", train=split(TRAIN, TRAIN_LABELS), test=split(TEST, [1, 2, 0, 0], other))
    assert load(folder).test.labels.tolist() == [0, 1, 2, 2]
    assert load(folder, streaming=True).test.known_labels().tolist() == [0, 1, 2, 2]
    unknown = datasets.ClassLabel(names=["owl", "cat", "eel"])
    folder = save(tmp_path / "e", train=split(TRAIN, TRAIN_LABELS), test=split(TEST, [1, 2, 0, 0], unknown))
    refused(folder, "^hf: test images: class 'eel' is not among the 3 classes of the training images$")


def test_a_split_without_labels_is_refused_and_another_named(tmp_path):
    train, unlabelled = split(TRAIN, TRAIN_LABELS), split(TEST, [-1] * 4)
    folder = save(tmp_path / "d", train=train, validation=split(TEST, TEST_LABELS), test=unlabelled)
    refused(folder, r"d, split test, row 0 has label -1, that is none; choose another test_split: validation$")
    assert load(folder, test_split="validation").test.labels.tolist() == TEST_LABELS
    refused(folder, r"split test, row 0 has label -1, .*; choose another train_split: train$",
            train_split="test", test_split="validation")  # fmt: skip
    folder = save(tmp_path / "e", train=train, test=unlabelled)
    refused(folder, r"split test, row 0 has label -1, that is none; there is no other test_split to choose$")
    folder = save(tmp_path / "f", train=split(TRAIN, [0, None, 2, 2, 1, 0]), test=train)
    refused(folder, "split train: column 'label' has empty cells, or no integers$")
    folder = save(tmp_path / "g", train=train, test=split(TEST, [0, 1, 7, 0], datasets.Value("int64")))
    refused(folder, "g, split test, row 2 has label 7; with 3 classes labels are 0 to 2$")


def test_splits(folder, tmp_path):
    refused(folder, "^train_split: .* has no split 'trian'; did you mean 'train'", train_split="trian")
    refused(folder, "^test_split: .* has no split 'dev'; its splits are train, test$", test_split="dev")
    refused(folder, "^test_split: 'train' is the training split", test_split="train")
    alone = save(tmp_path / "d", train=split(TRAIN, TRAIN_LABELS))
    refused(alone, "^test_split: .*d has no split test or validation or valid or val; its splits are train$")
    refused(tmp_path, r"has no dataset_dict.json\); for folders of Parquet files or images there are the sources")
    (alone / "dataset_dict.json").write_text("{")
    refused(alone, "^data set .*d cannot be opened: ")


def test_a_name_is_fetched_from_the_hub(monkeypatch):
    calls = []

    def load_dataset(*arguments, **options):
        calls.append((arguments, options))
        if arguments[0] == "nobody/none":
            raise ConnectionError("no\nnetwork")
        return datasets.DatasetDict(train=split(TRAIN, TRAIN_LABELS), test=split(TEST, TEST_LABELS))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert np.array_equal(array(load("some/birds", configuration="big", revision="v2").test.pixels), np.stack(TEST))
    assert calls == [(("some/birds", "big"), {"revision": "v2"})]
    refused("nobody/none", "^data set nobody/none cannot be opened: no network$")


def test_without_the_library(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(folder, r"^datasets cannot be imported .*; install it with: pip install 'smskd\[datasets\]'$")


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ({"bytes": b"no image", "path": None}, "the image cannot be decoded .no known image format.$"),
        (None, "the cell holds no bytes of an image$"),
    ],
)
def test_a_damaged_image_is_named(tmp_path, cell, problem):
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    train = split(TRAIN, TRAIN_LABELS)
    test = datasets.Dataset.from_dict({"img": [train[0]["img"], cell], "label": [0, 1]}, features=features)
    folder = save(tmp_path / "d", train=train, test=test)
    refused(folder, f"d, split test, row 1: {problem}")
    with pytest.raises(UserError, match=f"d, split test, row 1: {problem}"):
        load(folder, streaming=True).test[1]
