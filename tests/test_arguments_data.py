"""The data of `distill` as one data set: parts matched by class name, mistakes told with part and sample."""

import pytest
import torch
from torch import nn

import smskd
from smskd.arguments import dataset_of
from smskd.config.runtime import RuntimeConfig
from smskd.errors import UserError

LABELS = [0, 1, 2, 1, 0, 2, 1, 0]


class Named(list):
    """Pairs whose classes have names."""

    def __init__(self, labels, names, values=None):
        pairs = zip(values or labels, labels, strict=True)
        super().__init__((torch.full((1, 2, 2), float(value)), label) for value, label in pairs)
        self.classes = names


def student(classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))


def data_of(train, test, validation=None):
    return dataset_of(student(), train, test, validation, None, RuntimeConfig(device="cpu"))


def test_test_and_validation_classes_are_matched_by_name():
    train = Named(LABELS, ["cat", "dog", "owl"])
    other = Named(LABELS, ["owl", "cat", "dog"], values=[row / 10 for row in range(8)])
    held_out = Named(LABELS, ["dog", "owl", "cat"], values=[row / 7 for row in range(1, 9)])
    found = data_of(train, other, held_out)
    assert found.class_names == found.test.class_names == found.validation.class_names == ("cat", "dog", "owl")
    assert [found.train[row][1] for row in range(8)] == LABELS
    assert [found.test[row][1] for row in range(8)] == [2, 0, 1, 0, 2, 1, 0, 2]
    assert [found.validation[row][1] for row in range(8)] == [1, 2, 0, 2, 1, 0, 2, 1]
    with pytest.raises(UserError, match=r"^test images: class 'eel' is not among the 3 classes of the training"):
        data_of(train, Named(LABELS, ["cat", "dog", "eel"]))


@pytest.mark.parametrize("part", ["train", "test", "validation"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_numbers_that_cannot_be_trained_on_are_named_by_part_and_sample(part, value):
    good = {
        name: Named(LABELS, ["a", "b", "c"], values=[row + place for row in range(8)])
        for place, name in ((0.0, "train"), (0.25, "test"), (0.5, "validation"))
    }
    good[part][5] = (torch.tensor([[[0.0, value], [0.0, 0.0]]]), 1)
    where = "training" if part == "train" else part
    with pytest.raises(UserError, match=rf"^{where} sample 5: the image has (1 NaN|1 infinite|the value 1e\+30)"):
        smskd.distill(student=student(), teacher=None, stages=[], epochs=1, batch_size=4, device="cpu", **good)
