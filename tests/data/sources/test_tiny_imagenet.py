from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.errors import UserError
from tests.support.tiny_imagenet_files import IDS, SIDE, TEST, TRAIN, save, write_tiny_imagenet


@pytest.fixture
def root(tmp_path):
    return write_tiny_imagenet(tmp_path / "tiny-imagenet-200")


def decoded(path):
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


def test_images_labels_and_names(root):
    dataset = data.load("tiny_imagenet", root=root)
    assert dataset.class_names == tuple(sorted(IDS))
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (3 * TRAIN, TEST, (3, SIDE, SIDE))
    reference = ImageFolder(str(root / "train"))
    assert dataset.train.labels.tolist() == reference.targets
    for row, (path, _) in enumerate(reference.samples):
        assert np.array_equal(dataset.train.pixels[row].numpy(), decoded(path))
    assert [dataset.class_names[label] for label in dataset.test.labels.tolist()] == [*IDS, *IDS]
    for number in range(TEST):
        expected = decoded(root / "val" / "images" / f"val_{number}.JPEG")
        assert np.array_equal(dataset.test.pixels[number].numpy(), expected)
    assert (dataset.padding, dataset.flip) == (0, True)


def test_a_subset_is_part_of_the_whole(root):
    whole = data.load("tiny_imagenet", root=root)
    part = data.load("tiny_imagenet", root=root, subset=SubsetConfig(train=5, test=2, seed=1))
    assert part.train.fingerprint() == whole.train.subset(5, 1).fingerprint()
    assert part.test.fingerprint() == whole.test.subset(2, 1).fingerprint()
    assert (part.class_names, part.mean, part.std) == (whole.class_names, whole.mean, whole.std)


def test_a_given_normalisation(root):
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    dataset = data.load("tiny_imagenet", root=root, mean=mean, std=std)
    assert (dataset.mean, dataset.std) == (tuple(mean), tuple(std))
    with pytest.raises(UserError, match=r"^give std too: mean and std belong together$"):
        data.load("tiny_imagenet", root=root, mean=mean)
    with pytest.raises(UserError, match=r"^std is .*; every value has to be above 0$"):
        data.load("tiny_imagenet", root=root, mean=mean, std=[0.2, 0, 0.2])


def test_gray_images_become_rgb_and_sizes_one(root):
    path = root / "train" / "n01" / "images" / "n01_0.JPEG"
    save(path, 7, mode="L")
    pixels = data.load("tiny_imagenet", root=root).train.pixels[0].numpy()
    assert np.array_equal(pixels, decoded(path))
    assert (pixels[0] == pixels[1]).all()
    assert data.load("tiny_imagenet", root=root, image_size=[4, 6]).shape == (3, 4, 6)


def test_an_image_in_two_classes_is_kept_in_both(root):
    images = {name: root / "train" / name / "images" for name in IDS}
    copied = (images["n01"] / "n01_0.JPEG").read_bytes()
    (images["n02"] / "n02_3.JPEG").write_bytes(copied)
    train = data.load("tiny_imagenet", root=root).train
    same = [row for row in range(len(train)) if bool((train.pixels[row] == train.pixels[0]).all())]
    assert same == [0, TRAIN + 3]
    assert train.labels[same].tolist() == [0, 1]


def annotations(root: Path) -> Path:
    return root / "val" / "val_annotations.txt"


def test_mistakes(root):
    def fails(message):
        with pytest.raises(UserError, match=message) as caught:
            data.load("tiny_imagenet", root=root)
        assert "\n" not in str(caught.value)

    listed = annotations(root).read_text()
    annotations(root).write_text(listed + "val_9.JPEG\tn01\t0\t0\t7\t7\n")
    fails(r"val/images/val_9.JPEG is missing; val_annotations.txt lists it$")
    annotations(root).write_text(listed.partition("\n")[2])
    fails(r"val/images/val_0.JPEG is not in val_annotations.txt$")
    annotations(root).write_text(listed + "val_0.JPEG\tn01\n")
    fails(r"val_annotations.txt, line 7: val_0.JPEG is listed twice$")
    annotations(root).write_text(listed.replace("n02", "n09"))
    fails(r"val_annotations.txt, line 3: class 'n09' is not among the 3 training classes$")
    annotations(root).write_text(listed.replace("\t", " "))
    fails(r"val_annotations.txt, line 1: it has to be the name of an image, a tab and its class$")
    annotations(root).write_bytes(b"\xff\xfe")
    fails(r"val_annotations.txt is not a text file in UTF-8$")
    annotations(root).unlink()
    fails(r"val_annotations.txt is missing$")
    (root / "val" / "n01").mkdir()
    fails(r"val_annotations.txt is missing; the source image_folder reads a val that is sorted into class folders$")
    (root / "wnids.txt").write_text("n01\nn02\nn03\nn04\n")
    fails(r"train/n04 is missing; wnids.txt lists it$")
    (root / "wnids.txt").write_text("n01\nn02\n")
    fails(r"train/n03 is not in wnids.txt$")
    (root / "wnids.txt").unlink()
    fails(r"wnids.txt is missing$")


def test_image_folder_refuses_it(root):
    (root / "test").rename(root / "unlabelled")
    with pytest.raises(UserError, match=r"^test images: class 'images' is not among the 3 classes of the training"):
        data.load("image_folder", root=root)
    annotations(root).rename(root / "elsewhere.txt")
    for image in (root / "val" / "images").iterdir():
        image.rename(root / "val" / image.name)
    (root / "val" / "images").rmdir()
    with pytest.raises(UserError, match=r"val has 6 images but no folders; each class needs one$"):
        data.load("image_folder", root=root)
