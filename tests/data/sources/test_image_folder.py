import numpy as np
import pytest
from PIL import Image

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.errors import UserError


def write(root, part, counts, size=(6, 5), seed=0):
    """``counts`` images of each class by name; the pixels of all of them, in the order in which they are found."""
    generator = np.random.default_rng(seed)
    written = []
    for name in sorted(counts):
        (root / part / name).mkdir(parents=True)
        for number in range(counts[name]):
            pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / part / name / f"{number}.png")
            written.append(pixels)
    return np.stack(written)


def arrays(images):
    return images.pixels.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("part", ["test", "val"])
def test_images_labels_and_names(tmp_path, part):
    train = write(tmp_path, "train", {"owl": 2, "cat": 3, "dog": 1})
    test = write(tmp_path, part, {"owl": 1, "dog": 2}, seed=1)
    dataset = data.load("image_folder", root=tmp_path)
    assert dataset.class_names == ("cat", "dog", "owl")
    assert np.array_equal(arrays(dataset.train), train)
    assert np.array_equal(arrays(dataset.test), test)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 2, 2]
    assert dataset.test.labels.tolist() == [1, 1, 2]  # although there is no folder cat
    assert dataset.mean == pytest.approx((train / 255).mean((0, 1, 2)).tolist())


def test_test_is_used_rather_than_val(tmp_path):
    write(tmp_path, "train", {"cat": 2})
    write(tmp_path, "val", {"cat": 2})
    write(tmp_path, "test", {"cat": 3})
    assert len(data.load("image_folder", root=str(tmp_path)).test) == 3


def test_only_the_subset_is_decoded(tmp_path):
    write(tmp_path, "train", {"cat": 5, "dog": 5})
    write(tmp_path, "test", {"cat": 3}, seed=1)
    whole = data.load("image_folder", root=tmp_path)
    subset = SubsetConfig(train=4, test=1, seed=3)
    part = data.load("image_folder", root=tmp_path, subset=subset)
    assert part.train.fingerprint() == whole.train.subset(4, 3).fingerprint()
    assert part.test.fingerprint() == whole.test.subset(1, 3).fingerprint()
    done = []
    data.load("image_folder", root=tmp_path, subset=subset, track=lambda items, total: done.append(total) or items)
    assert done == [4, 1, 1]  # training, test, and a block of all training images for mean and deviation
    assert (part.mean, part.std) == (whole.mean, whole.std)


def test_gray_and_resized(tmp_path):
    write(tmp_path, "train", {"cat": 1}, size=(6, 5))
    write(tmp_path, "test", {"cat": 1}, size=(12, 10))
    dataset = data.load("image_folder", root=tmp_path, image_size=[6, 5], channels=1)
    image = Image.open(tmp_path / "test" / "cat" / "0.png").convert("L").resize((5, 6), Image.Resampling.BILINEAR)
    assert dataset.shape == (1, 6, 5)
    assert np.array_equal(dataset.test.pixels[0, 0].numpy(), np.asarray(image))


def test_mistakes(tmp_path):
    def fails(message, **options):
        with pytest.raises(UserError, match=message) as caught:
            data.load("image_folder", root=tmp_path, **options)
        assert "\n" not in str(caught.value)

    fails("train is not a folder; root has to be the folder that contains train and test or val$")
    write(tmp_path, "train", {"cat": 2})
    fails("has no folder test or val$")
    (tmp_path / "test" / "cat").mkdir(parents=True)
    fails(r"test/cat has no images \(.avif, .bmp, ")
    write(tmp_path, "test", {"bird": 1, "eel": 1}, size=(7, 5))
    Image.new("RGB", (5, 6)).save(tmp_path / "test" / "cat" / "0.png")
    fails("^test images: class 'bird' and 1 more is not among the 1 classes of the training images$")
    for name in ("bird", "eel"):
        (tmp_path / "train" / name).mkdir()
        Image.new("RGB", (5, 6)).save(tmp_path / "train" / name / "0.png")
    fails("bird/0.png: the image is 7x5, the first training image 6x5; give image_size")
    (tmp_path / "train" / "bird" / "0.png").write_bytes(b"no image")
    fails("bird/0.png: the image cannot be decoded .no known image format.$", image_size=[6, 5])


@pytest.mark.parametrize("part", ["train", "val"])
def test_images_outside_of_classes_are_refused(tmp_path, part):
    write(tmp_path, "train", {"cat": 2})
    write(tmp_path, "val", {"cat": 2})
    (tmp_path / part / "9.png").write_bytes((tmp_path / part / "cat" / "0.png").read_bytes())
    with pytest.raises(
        UserError, match=rf"{part} has class folders and, beside them, 1 images, .* such as 9.png; move"
    ):
        data.load("image_folder", root=tmp_path)
    for file in (tmp_path / part / "cat").iterdir():
        file.unlink()
    (tmp_path / part / "cat").rmdir()
    with pytest.raises(UserError, match=rf"{part} has 1 images but no folders; each class needs one$"):
        data.load("image_folder", root=tmp_path)
