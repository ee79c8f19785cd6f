"""The data sets of a user: their classes matched by name, and what cannot be trained on refused."""

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset

from smskd.data import Dataset, Images, StreamedSamples
from smskd.data.listed import known_labels, listed_class_names
from smskd.data.samples import read_labels
from smskd.data.splits import fitted_names, matching_split, require_map_style, training_split
from smskd.errors import UserError

LABELS = [0, 1, 2, 1, 0, 2]


class Rows:
    """Images whose value is that of their class in the order of the names; dicts where keys are given."""

    def __init__(self, labels=LABELS, keys=None, **members):
        self.given, self.keys = labels, keys
        vars(self).update(members)

    def __len__(self):
        return len(self.given)

    def __getitem__(self, row):
        image, label = torch.full((1, 2, 2), row, dtype=torch.uint8), self.given[row]
        return (image, label) if self.keys is None else dict(zip(self.keys, (image, label), strict=True))


class Feature:
    def __init__(self, names):
        self.names = names


class Hub(Rows):
    """A data set as those of the library `datasets`: dicts, features, formats and columns."""

    def __init__(self, names, labels=LABELS, kind=None, label="label"):
        super().__init__(labels, ("image", label))
        self.features = {"image": None, label: Feature(names)}
        self.format = {"type": kind}
        self.column = label

    def with_format(self, kind):
        assert kind == "numpy"
        return {self.column: np.array(self.given)}


def images(names, labels=LABELS):
    return Images(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), torch.tensor(labels), names)


NAMED = {
    "classes": lambda names: Rows(classes=list(names)),
    "class_to_idx": lambda names: Rows(class_to_idx={name: place for place, name in enumerate(names)}),
    "shuffled class_to_idx": lambda names: Rows(
        class_to_idx={name: names.index(name) for name in sorted(names)}, classes=sorted(names)
    ),
    "features": Hub,
    "fine_label": lambda names: Hub(names, label="fine_label"),
    "subset": lambda names: Subset(Rows(classes=names), range(6)),
    "joined": lambda names: ConcatDataset([Rows(LABELS[:2], classes=names), Rows(LABELS[2:], classes=names)]),
    "images": images,
}


@pytest.mark.parametrize("kind", NAMED)
def test_labels_of_another_order_are_matched_by_name(kind):
    train, test = NAMED[kind](("cat", "dog", "owl")), NAMED[kind](("owl", "cat", "dog"))
    assert listed_class_names(train) == ("cat", "dog", "owl")
    split = training_split(train, 3)
    assert split.class_names == ("cat", "dog", "owl")
    other = matching_split(test, train, split.class_names, "test")
    assert [other[row][1] for row in range(6)] == [2, 0, 1, 0, 2, 1]
    same = matching_split(train, train, split.class_names, "test")
    assert [same[row][1] for row in range(6)] == LABELS
    assert Dataset(name="x", train=split, test=other, mean=(0,), std=(1,)).test.class_names == split.class_names


@pytest.mark.parametrize("kind", NAMED)
def test_a_class_that_training_has_not(kind):
    train, test = NAMED[kind](("cat", "dog", "owl")), NAMED[kind](("cat", "dog", "eel"))
    with pytest.raises(
        UserError, match=r"^test images: class 'eel' is not among the 3 classes of the training images$"
    ):
        matching_split(test, train, ("cat", "dog", "owl"), "test")


def test_the_parts_of_a_dataset_are_matched_too():
    def dataset(test):
        return Dataset(name="x", train=images(("a", "b", "c")), test=test, validation=test, mean=(0,), std=(1,))

    other = dataset(images(("c", "a", "b")))
    assert other.test.labels.tolist() == other.validation.labels.tolist() == [2, 0, 1, 0, 2, 1]
    streamed = dataset(StreamedSamples(Rows(), ("c", "a", "b")))
    assert [streamed.test[row][1] for row in range(6)] == [2, 0, 1, 0, 2, 1]
    assert streamed.test.where(4) == "test sample 4"
    with pytest.raises(UserError, match=r"^x: test images: class 'd' is not among the 3 classes"):
        dataset(images(("a", "b", "d")))


def test_names_that_occur_twice():
    train = Rows(classes=["crane", "crane", "owl"])
    assert matching_split(train, train, ("crane", "crane", "owl"), "test").mapping is None
    with pytest.raises(UserError, match=r"^test images: two classes have the name 'crane', and the class names of the"):
        matching_split(Rows(classes=["owl", "crane", "crane"]), train, ("crane", "crane", "owl"), "test")


def test_without_names_classes_are_matched_by_number():
    for train, test in ((Rows(), Rows(classes=["a", "b", "c"])), (Rows(classes=["a", "b", "c"]), Rows())):
        names = training_split(train, 3).class_names
        assert [matching_split(test, train, names, "test")[row][1] for row in range(6)] == LABELS


def test_a_network_with_more_or_fewer_classes():
    assert training_split(Rows(classes=["a", "b", "c"]), 5).class_names == ("a", "b", "c", "class 3", "class 4")
    assert training_split(Rows(classes=["a", "b", "c"]), 2).class_names == ("a", "b")  # a part of the classes, perhaps
    assert fitted_names(None, 3) == ("0", "1", "2")
    with pytest.raises(UserError, match=r"^the images have 3 classes, the student 2 output classes$"):
        training_split(images(("a", "b", "c")), 2)


def test_joined_data_sets_whose_labels_mean_different_classes():
    joined = ConcatDataset([Rows(classes=["a", "b", "c"]), Rows(classes=["b", "a", "c"])])
    with pytest.raises(UserError, match=r"^the concatenated data sets have different class names"):
        listed_class_names(joined)


def test_names_are_not_those_of_changed_labels():
    assert listed_class_names(Rows(classes=["a", "b", "c"], target_transform=lambda label: label)) is None
    assert listed_class_names(Rows(classes=3)) is None
    assert listed_class_names(Rows(class_to_idx={"tench": 0, "goldfish": 0}, classes=["tench", "ray"])) == (
        "tench",
        "ray",
    )


def test_labels_listed_in_other_places():
    assert known_labels(TensorDataset(torch.zeros(6, 1, 2, 2), torch.tensor(LABELS))).tolist() == LABELS
    assert known_labels(TensorDataset(torch.zeros(6, 1, 2, 2))) is None
    assert known_labels(Hub(("a", "b", "c"))).tolist() == LABELS
    assert known_labels(Hub(("a", "b", "c"), kind="custom")) is None  # of a transform, which may change labels
    assert read_labels(Hub(("a", "b", "c"), kind="custom")).tolist() == LABELS
    assert known_labels(ConcatDataset([Rows(targets=LABELS), Rows(targets=LABELS)])).tolist() == LABELS * 2
    assert known_labels(ConcatDataset([Rows(targets=LABELS), Rows()])) is None
    assert known_labels(Rows(targets=[10**30] * 6)) is None


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


class Endless(Rows):
    def __len__(self):
        raise TypeError("endless")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataLoader([1]), "not a DataLoader: give its data set .loader.dataset., and set batch_size and loader$"),
        (Stream(), "not a Stream: its samples can only be read in order"),
        ((pair for pair in ()), "not a generator: its samples can only be read in order"),
        ({"train": [], "test": []}, "not a dict .with the keys train, test.: give one data set$"),
        ({}, "not a dict$"),
        ((np.zeros((4, 2, 2)), np.zeros(4)), "not a tuple of two arrays: give torch.utils.data.TensorDataset"),
        (torch.zeros(4, 1, 2, 2), "not a Tensor: give the labels too"),
        ("data/train", "not a str$"),
        (3, "not a int$"),
        (
            Dataset(name="x", train=images("abc"), test=images("abc"), mean=(0,), std=(1,)),
            "not a Dataset: give its train",
        ),
        (Endless(), "this one has no length$"),
    ],
)
def test_data_without_samples_by_index(data, message):
    with pytest.raises(
        UserError, match=rf"^train must be a map-style data set of \(image, label\)[,;] {message}"
    ) as caught:
        require_map_style(data, "train")
    assert "\n" not in str(caught.value)


def test_data_with_samples_by_index():
    with pytest.raises(UserError, match=r"^test has no samples$"):
        require_map_style([], "test")
    for data in (Rows(), Hub(("a",)), images("abc"), [(1, 2), (3, 4)], TensorDataset(torch.zeros(2), torch.zeros(2))):
        require_map_style(data, "train")


@pytest.mark.parametrize("keys", [("image", "label"), ("img", "fine_label"), ("pixel_values", "labels")])
def test_samples_that_are_dicts(keys):
    samples = StreamedSamples(Rows(keys=keys), ("a", "b", "c"))
    assert (int(samples[4][0].max()), samples[4][1]) == (4, 0)
    assert samples.shape == (1, 2, 2)
