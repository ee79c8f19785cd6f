"""Labels that methods are built on, of data sets that list them and of those that do not."""

import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, StackDataset, Subset, TensorDataset

import smskd
from smskd.data import mix_tensor
from smskd.data.listed import known_labels
from smskd.data.samples import read_labels
from tests.support import tiny

IMAGES = (mix_tensor(1, torch.arange(24 * 64)) % 256).to(torch.uint8).view(24, 1, 8, 8)
LABELS = torch.arange(24) % 10


class Own(Dataset):
    """A data set with any attributes."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)
        self.read = []

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, row):
        self.read.append(row)
        return IMAGES[row], int(LABELS[row])


TENSORS = TensorDataset(IMAGES, LABELS)


@pytest.mark.parametrize(
    ("dataset", "rows"),
    [
        (Subset(TENSORS, [5, 0]), [5, 0]),
        (Subset(Subset(TENSORS, range(3, 9)), torch.tensor([2, 0])), [5, 3]),
        (Subset(ConcatDataset([TENSORS, ConcatDataset([TENSORS, TENSORS])]), [50, 25, 3]), [2, 1, 3]),
        (ConcatDataset([Subset(Own(targets=LABELS.tolist()), [4]), Own(labels=LABELS.numpy())]), [4, *range(24)]),
        (Subset(TENSORS, [-1]), [23]),
        (Own(targets=LABELS.to(torch.uint8)), list(range(24))),
    ],
)
def test_listed_labels_are_known_through_subsets(dataset, rows):
    found = known_labels(dataset)
    assert found is not None
    assert found.tolist() == LABELS[rows].tolist()


@pytest.mark.parametrize(
    "dataset",
    [
        Own(),
        Own(targets=[str(label) for label in LABELS.tolist()]),
        Own(targets=LABELS.float()),
        Own(targets=LABELS[:5]),
        Own(targets=-LABELS),
        Own(targets=LABELS.tolist(), target_transform=lambda label: label),
        StackDataset(IMAGES, LABELS),
        list(zip(IMAGES, LABELS, strict=True)),
        ConcatDataset([Own()]),
        Subset(Own(), range(24)),
    ],
)
def test_others_are_read_sample_by_sample(dataset):
    assert known_labels(dataset) is None
    assert read_labels(dataset).tolist() == LABELS.tolist()


def test_crd_takes_a_data_set_that_lists_no_labels():
    own, weights = Own(), []
    for train in (own, TENSORS):
        torch.manual_seed(0)
        student, teacher = tiny.student(), tiny.teacher()
        smskd.distill(
            student=student, teacher=teacher, train=train, test=TENSORS, methods=["crd"], epochs=1, batch_size=8
        )
        weights.append(tiny.bits(student))
    assert set(own.read) == set(range(24))
    assert tiny.same(*weights)


def test_other_methods_read_no_sample_for_its_label():
    own = Own()
    smskd.distill(
        student=tiny.student(), teacher=tiny.teacher(), train=own, test=TENSORS, methods=["kd"], epochs=1, batch_size=8
    )
    assert own.read.count(23) < 4
