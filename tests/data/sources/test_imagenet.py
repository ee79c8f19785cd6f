import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.errors import UserError
from tests.support.imagenet_files import (
    IDS,
    VALIDATION,
    save,
    validation_name,
    write_devkit,
    write_train,
    write_validation,
)


@pytest.fixture
def root(tmp_path):
    write_train(tmp_path)
    return tmp_path


def load(root, **options):
    return data.load("imagenet", root=root, **{"image_size": [8, 6], **options})


def names_of(split):
    return [split.class_names[label] for label in split.known_labels().tolist()]


def test_class_folders_and_devkit_give_the_same(root, tmp_path):
    write_validation(root, sorted_into_folders=False)
    write_devkit(root / "ILSVRC2012_devkit_t12")
    flat = load(root)
    assert flat.class_names == IDS
    assert names_of(flat.test) == list(VALIDATION)
    write_train(tmp_path / "sorted")
    write_validation(tmp_path / "sorted", sorted_into_folders=True)
    folders = load(tmp_path / "sorted")
    assert names_of(folders.test) == sorted(VALIDATION)
    by_label = {label: flat.test[row][0] for row, label in enumerate(VALIDATION[:3])}
    assert all(torch.equal(folders.test[row][0], by_label[name]) for row, name in enumerate(["n01", "n02"]))


def test_images_are_those_of_torchvision(root):
    write_validation(root, sorted_into_folders=True)
    dataset = load(root, image_size=[16, 14], shorter_side=18)
    usual = transforms.Compose([transforms.Resize(18), transforms.CenterCrop((16, 14))])
    reference = ImageFolder(str(root / "train"), usual)
    assert dataset.train.known_labels().tolist() == reference.targets
    assert dataset.shape == (3, 16, 14)
    for row in range(len(reference)):
        image, label = dataset.train[row]
        expected, expected_label = reference[row]
        assert label == expected_label
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_the_default_size_is_the_usual_one(root):
    write_validation(root, sorted_into_folders=True)
    dataset = data.load("imagenet", root=root)
    usual = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    path = root / "val" / "n01" / validation_name(3)
    assert np.array_equal(dataset.test[0][0].permute(1, 2, 0).numpy(), np.asarray(usual(Image.open(path))))
    assert (dataset.mean, dataset.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (dataset.padding, dataset.flip) == (0, True)


def test_images_are_streamed_by_workers(root):
    write_validation(root, sorted_into_folders=True)
    train = load(root).train
    here, there = (list(data.StreamingLoader(train, 3, batch_size=4, workers=workers).epoch(1)) for workers in (0, 1))
    assert [len(batch.y) for batch in here] == [4, 2]
    assert all(
        torch.equal(one.x, other.x) and torch.equal(one.y, other.y) for one, other in zip(here, there, strict=True)
    )
    assert torch.equal(pickle.loads(pickle.dumps(train))[1][0], train[1][0])


def test_a_subset_reads_no_more_and_keeps_the_classes(root):
    write_validation(root, sorted_into_folders=True)
    (root / "train" / "n03" / "n03_1.JPEG").write_bytes(b"no image")
    part = load(root, subset=SubsetConfig(train=2, test=1))
    assert (part.class_names, len(part.train), len(part.test)) == (IDS, 2, 1)
    whole = load(root)
    with pytest.raises(UserError, match=r"n03_1.JPEG: the image cannot be decoded"):
        whole.train[5]


def test_mistakes(root):
    def fails(message, **options):
        with pytest.raises(UserError, match=message) as caught:
            load(root, **options)
        assert "\n" not in str(caught.value)

    fails("val is not a folder$")
    write_validation(root, sorted_into_folders=False)
    fails(r"val has no class folders, and .*ILSVRC2012_validation_ground_truth.txt is missing; give devkit")
    devkit = root / "kit"
    write_devkit(devkit)
    load(root, devkit=devkit)
    fails(r"^shorter_side is 7; image_size \[8, 6\] needs 8 or more$", shorter_side=7)
    save(root / "val" / validation_name(5), 1, (9, 9))
    fails(r"val has 5 images for 4 labels: .*ground_truth.txt has 4 labels$", devkit=devkit)
    (root / "val" / validation_name(2)).rename(root / "val" / "x_5.JPEG")
    fails(r"x_5.JPEG and ILSVRC2012_val_00000005.JPEG have the same number$", devkit=devkit)
    (root / "val" / validation_name(5)).unlink()
    fails(r"val has 4 images for 4 labels: number 2 is missing$", devkit=devkit)
    (root / "val" / "x_5.JPEG").rename(root / "val" / "x.JPEG")
    fails(r"x.JPEG has no number in its name", devkit=devkit)
    (root / "val" / "x.JPEG").rename(root / "val" / validation_name(2))
    truth, meta = (devkit / "data" / name for name in ("ILSVRC2012_validation_ground_truth.txt", "meta.mat"))
    truth.write_text("3\n1\n1001\n1\n")
    fails(r"ground_truth.txt, line 3: '1001' is not the number of a class in meta.mat$", devkit=devkit)
    truth.write_text("3\n1\n-2\n1\n")
    fails(r"ground_truth.txt, line 3: '-2' is not the number", devkit=devkit)
    truth.write_text("3\n1\n2\n1\n")
    meta.write_bytes(b"no matrix")
    fails(r"meta.mat cannot be read as the classes of the development kit: ", devkit=devkit)
    meta.unlink()
    fails(r"meta.mat is missing; it says which class a number", devkit=devkit)
    save(root / "val" / "n01" / "a.JPEG", 1, (9, 9))
    fails(r"val has class folders and, beside them, 4 images, whose class is unknown$", devkit=devkit)


def test_a_class_that_is_not_trained(root):
    write_validation(root, sorted_into_folders=True)
    (root / "val" / "n01").rename(root / "val" / "n09")
    with pytest.raises(UserError, match=r"^test images: class 'n09' is not among the 3 classes"):
        load(root)
