import json
import pickle
import tarfile
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.errors import UserError
from tests.support.shards import SIZE, TEST_LABELS, TRAIN_LABELS, image, samples, write_shard, write_shards


@pytest.fixture
def root(tmp_path):
    return write_shards(tmp_path / "birds")


def decoded(content):
    return np.asarray(Image.open(BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def load(root, **options):
    return data.load("webdataset", root=str(root), **options)


def refused(root, message, **options):
    with pytest.raises(UserError, match=message) as caught:
        load(root, **options)
    assert "\n" not in str(caught.value)


def test_images_labels_and_classes(root):
    dataset = load(root)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.labels.tolist() == list(TRAIN_LABELS)
    assert dataset.test.labels.tolist() == list(TEST_LABELS)
    for row in range(len(TRAIN_LABELS)):
        assert np.array_equal(dataset.train.pixels[row].numpy(), decoded(image(row)))
    assert np.array_equal(dataset.test.pixels[2].numpy(), decoded(image(102)))
    assert dataset.mean == pytest.approx((dataset.train.pixels / 255).mean((0, 2, 3)).tolist(), abs=1e-6)


def test_streamed_images_are_those_in_memory(root):
    subset = SubsetConfig(train=4, test=2, seed=3)
    memory, streamed = load(root, subset=subset), load(root, subset=subset, streaming=True)
    assert isinstance(streamed.train, data.StreamedSamples)
    assert (memory.mean, memory.std) == (streamed.mean, streamed.std)
    for one, other in ((memory.train, streamed.train), (memory.test, streamed.test)):
        assert torch.equal(one.labels, other.known_labels())
        assert all(torch.equal(one[row][0], other[row][0]) for row in range(len(one)))
    assert torch.equal(pickle.loads(pickle.dumps(streamed.train))[0][0], memory.train[0][0])
    batches = {}
    for workers in (0, 1):
        loader = data.StreamingLoader(streamed.train, 3, 2, dataset_augmentation(memory), seed=5, workers=workers)
        batches[workers] = [(batch.x, batch.y) for batch in loader.epoch(3)]
    for (x, y), (other_x, other_y) in zip(batches[0], batches[1], strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)
    in_memory = data.MemoryLoader(memory.train, 2, dataset_augmentation(memory), seed=5)
    assert all(torch.equal(batch.x, x) for batch, (x, _) in zip(in_memory.epoch(3), batches[0], strict=True))


def dataset_augmentation(dataset):
    return data.Augmentation(mean=dataset.mean, std=dataset.std, padding=1)


def test_labels_of_json_and_names(tmp_path):
    def with_json(labels, first=0):
        for number, label in enumerate(labels, start=first):
            yield f"a/{number}.jpg", image(number, kind="JPEG")
            yield f"a/{number}.json", json.dumps({"kind": label, "label": None}).encode()

    write_shard(tmp_path / "train" / "9.tar", with_json(["owl", "cat"]))
    write_shard(tmp_path / "train" / "10.tar", with_json(["cat", "dog"], first=2))
    write_shard(tmp_path / "val" / "0.tar", with_json(["dog", "owl"], first=9))
    refused(tmp_path, r"train/9.tar, sample a/0.json: 'label' is None; it has to be the number or the name of a class$")
    refused(tmp_path, r"sample a/0.json has no 'knd'; give label_key: it has kind, label$", label_key="knd")
    dataset = load(tmp_path, label_key="kind")
    assert dataset.class_names == ("cat", "dog", "owl")
    assert dataset.train.labels.tolist() == [2, 0, 0, 1]  # shard 9 comes before 10
    assert dataset.test.labels.tolist() == [1, 2]
    names = tmp_path / "names.txt"
    names.write_text("owl\ndog\ncat\n")
    assert load(tmp_path, label_key="kind", class_names=names).train.labels.tolist() == [0, 2, 2, 1]
    names.write_text("owl\ncat\n")
    refused(tmp_path, r"train/10.tar, sample 1 \(counted from 0\) has the label 'dog', which is not in the list",
            label_key="kind", class_names=names)  # fmt: skip
    write_shard(tmp_path / "val" / "0.tar", with_json(["eel"]))
    refused(
        tmp_path, r"val/0.tar, sample 0 .* has the label 'eel', which is not among the 3 training", label_key="kind"
    )
    write_shard(tmp_path / "val" / "0.tar", with_json([1]))
    refused(tmp_path, r"has the label 1, the first one 'owl': give numbers or names for all$", label_key="kind")


def test_listed_class_names(root):
    (root / "classnames.txt").write_text("cat\ndog\nowl\n")
    assert load(root).class_names == ("cat", "dog", "owl")
    (root / "classnames.txt").write_text("cat\ndog\n")
    refused(root, r"train-0.tar, sample 2 .* has label 2; with 2 classes labels are 0 to 1$")
    refused(root, "none.txt is missing$", class_names=str(root / "none.txt"))


def test_files_beside_the_image(root):
    path = root / "birds-test-0.tar"
    write_shard(
        path, [("__key__.txt", b"x"), ("README", b"x"), ("1.txt", b"a bird"), ("1.cls", b"1\n"), ("1.png", image(1))]
    )
    assert load(root).test.labels.tolist() == [1]
    write_shard(path, [("1.a.png", image(1)), ("1.b.png", image(2)), ("1.cls", b"1")])
    refused(root, r"test-0.tar, sample 1 has the images .a.png, .b.png; give image_extension$")
    write_shard(root / "birds-train-0.tar", [("1.b.png", image(3)), ("1.cls", b"0")])
    write_shard(root / "birds-train-1.tar", [("1.b.png", image(3)), ("1.cls", b"1")])
    assert np.array_equal(load(root, image_extension="b.png").test.pixels[0].numpy(), decoded(image(2)))
    refused(root, r"train-0.tar, sample 1 has no file .c.png, only .b.png, .cls$", image_extension="c.png")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("1.png", b"x")], r"sample 1 has no label \(.cls or .json\), only .png$"),
        ([("1.cls", b"1")], "sample 1 has no image, only .cls$"),
        ([("1.cls", b""), ("1.png", b"x")], "sample 1.cls holds ''; it has to be the number or the name of a class$"),
        ([("1.cls", b"\xff"), ("1.png", b"x")], "sample 1.cls is not a text in UTF-8$"),
        ([("1.cls", b"1" * 5000), ("1.png", b"x")], "sample 1.cls has 5000 bytes, too many for a label$"),
        ([("1.cls", b"-1"), ("1.png", b"x")], r"sample 0 .* has label -1; with 3 classes labels are 0 to 2$"),
        ([("1.json", b"{"), ("1.png", b"x")], "sample 1.json is not JSON: Expecting"),
        ([("1.json", b"[" * 99999), ("1.png", b"x")], "sample 1.json is not JSON: "),
        ([("1.json", b"[]"), ("1.png", b"x")], "has no 'label'; give label_key: it has no mapping but list$"),
        ([("1.cls", b"1"), ("1.png", b"x"), ("1.PNG", b"x")], "sample 1 has two files .png$"),
        ([("1.cls", b"1"), ("1.png", b"no image")], r"test-0.tar, sample 0 .*: the image cannot be decoded"),
        (
            [("1.cls", b"1"), ("1.png", image(1, (9, 9)))],
            "the image is 9x9, the first training image 6x5; give image_size",
        ),
        ([("__about__.txt", b"1")], "test-0.tar has no samples$"),
    ],
)
def test_mistakes_in_samples(root, files, message):
    write_shard(root / "birds-test-0.tar", files)
    refused(root, message)


def test_damaged_shards(root):
    path = root / "birds-train-1.tar"
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for length in range(1, len(whole) - 20 * 512 - 512, 256):  # cut anywhere before the end mark
        path.write_bytes(whole[:length])
        refused(root, r"birds-train-1.tar ")
    path.write_bytes(b"")
    refused(root, "train-1.tar cannot be read as a tar: empty file$")
    path.write_bytes(whole + whole)
    refused(root, r"train-1.tar has data behind its end mark, at byte \d+: tars that were joined have to stay apart$")
    second = whole.index(b"0005.cls")
    path.write_bytes(whole[:second] + b"\xff" * 99 + whole[second + 99 :])
    refused(root, rf"train-1.tar is damaged at byte {second}: there is no header of a file$")
    path.write_bytes(b"\x1f\x8b" + whole[2:])
    refused(root, "train-1.tar is compressed; images are read by their position, so unpack it to a tar$")
    path.write_bytes(whole)
    assert end < len(whole)
    streamed = load(root, streaming=True).train
    path.write_bytes(whole[:600])
    with pytest.raises(UserError, match=r"train-1.tar has become shorter since its headers were read$"):
        streamed[6]


def test_damaged_bytes_are_told_or_change_nothing(root):
    """Whatever a byte becomes: either the same number of samples is read, or a line tells what is wrong."""
    path = root / "birds-test-0.tar"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(whole), 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        told = ""
        try:
            assert len(load(root).test) == len(TEST_LABELS)
        except UserError as error:
            told = str(error)
        assert "\n" not in told
        assert not told or "birds-test-0.tar" in told


def test_which_shards(root, tmp_path):
    refused(tmp_path / "none", "none is not a folder; root has to be the folder with the shards$")
    refused(tmp_path, r"has no shards called train \(\*.tar\); give the pattern train$")
    (root / "birds-train-1.tar").rename(root / "birds-train-2.tar")
    refused(root, r"birds lacks shard 1, behind birds-train-0.tar; where that is meant, name the shards in braces")
    assert len(load(root, train="birds-train-{0,2}.tar").train) == len(TRAIN_LABELS)
    refused(root, "birds/birds-train-1.tar is not a file$", train="birds-train-{0..2}.tar")
    refused(root, r"train: \{2..0\} has to count up, to fewer than 1000000 shards$", train="birds-train-{2..0}.tar")
    refused(root, r"train: .*birds has no files nothing\*.tar$", train="nothing*.tar")
    refused(root, r"birds-test-0.tar would be both a training and a test shard; give train and test$", train="*test*")
    (root / "birds-test-0.tar").rename(root / "birds-validation.tar")
    assert len(load(root, train="birds-train-{0,2}.tar").test) == len(TEST_LABELS)
    assert len(load(root, train="birds-train-0.tar", test="birds-train-2.tar").test) == 3


def test_sizes_and_crops(root):
    assert load(root, image_size=[3, 4], channels=1).shape == (1, 3, 4)
    write_shard(root / "birds-test-0.tar", [("1.cls", b"1"), ("1.png", image(1, (12, 20)))])
    dataset = load(root, image_size=[4, 4], shorter_side=5)
    assert dataset.shape == (3, 4, 4)
    refused(root, "^shorter_side needs image_size, and channels: 3$", shorter_side=5)


def test_only_regular_files_are_samples(root):
    path = root / "birds-test-0.tar"
    with tarfile.open(path, "w") as archive:
        folder = tarfile.TarInfo("images")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        link = tarfile.TarInfo("images/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        label = tarfile.TarInfo("images/1.cls")
        label.size = 1
        archive.addfile(label, BytesIO(b"1"))
    refused(root, "sample images/1 has no image, only .cls$")


def test_long_names(root):
    name = "folder/" * 40 + "bird"
    write_shard(root / "birds-test-0.tar", [(f"{name}.cls", b"1"), (f"{name}.png", image(1))])
    assert load(root).test.pixels.shape[2:] == SIZE


def test_samples_of_a_pattern_are_ordered_by_number(tmp_path):
    for number in range(12):
        write_shard(tmp_path / f"train-{number}.tar", samples([number % 3], first=number))
    write_shard(tmp_path / "test.tar", samples([0, 1, 2]))
    pixels = load(tmp_path).train.pixels
    assert all(np.array_equal(pixels[number].numpy(), decoded(image(number))) for number in range(12))
