from importlib.metadata import EntryPoint

import pytest
import torch

from smskd import data
from smskd.config.data import LoaderConfig, SubsetConfig
from smskd.data import Dataset, Images, StreamedSamples
from smskd.data.loaders.make import make_loader
from smskd.data.sources.map_style import as_dataset
from smskd.errors import UserError

HERE = "tests.data.sources.test_map_style"
LABELS = [0, 2, 1, 0, 1, 2, 0, 1, 0, 2]


class Rows:
    """A map-style data set of constant images whose value is their row."""

    def __init__(self, labels, classes=None, targets=None, scale=1):
        self.rows = [(torch.full((3, 4, 4), row * scale, dtype=torch.uint8), label) for row, label in enumerate(labels)]
        self.reads = 0
        if classes is not None:
            self.classes = classes
        if targets is not None:
            self.targets = targets

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        self.reads += 1
        return self.rows[row]


def third_party(scale: int = 1, reverse: bool = False):
    train = Rows(LABELS, ["cat", "dog", "owl"], LABELS, scale)
    test = Rows([0, 1], ["owl", "dog"], scale=scale)
    return (train, test) if reverse else {"train": train, "test": test}


def whole_dataset(subset: SubsetConfig | None = None, track=None):
    images = Images(torch.zeros(subset.train, 3, 2, 2, dtype=torch.uint8), torch.zeros(subset.train).long(), ("a",))
    return Dataset(name="mine", train=images, test=images, mean=(0.5,) * 3, std=(0.1,) * 3)


@pytest.mark.parametrize("reverse", [True, False])
def test_map_style_data_sets_of_a_third_party(reverse):
    dataset = data.load(f"{HERE}:third_party", scale=2, reverse=reverse, subset=SubsetConfig(train=6, seed=1))
    assert dataset.class_names == ("cat", "dog", "owl")
    assert isinstance(dataset.train, StreamedSamples)
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (6, 2, (3, 4, 4))
    rows = torch.randperm(10, generator=torch.Generator().manual_seed(1))[:6].tolist()
    assert [int(image[0, 0, 0]) for image, _ in (dataset.train[row] for row in range(6))] == [2 * row for row in rows]
    assert dataset.train.known_labels().tolist() == [LABELS[row] for row in rows]
    assert [label for _, label in (dataset.test[row] for row in range(2))] == [2, 1]  # owl, dog
    assert (dataset.augmentation().variants, dataset.mean, dataset.std) == (1, (0,) * 3, (1,) * 3)


def test_an_installed_source(monkeypatch):
    points = [EntryPoint("mine", f"{HERE}:third_party", "smskd.data")]
    monkeypatch.setattr("smskd.registry.entry_points", lambda group: points if group == "smskd.data" else [])
    assert data.load("mine").classes == 3
    with pytest.raises(UserError, match=r"^data.source.scal: unknown option of mine; did you mean 'scale'\?$"):
        data.load("mine", scal=1)


def test_a_source_that_takes_the_subset_and_returns_a_data_set():
    dataset = data.load(f"{HERE}:whole_dataset", subset=SubsetConfig(train=3, test=1))
    assert (len(dataset.train), len(dataset.test), dataset.name) == (3, 3, "mine")


def test_streamed_samples_make_the_batches_of_images():
    dataset = data.load(f"{HERE}:third_party")
    images = Images(torch.stack([image for image, _ in Rows(LABELS).rows]), torch.tensor(LABELS), ("cat", "dog", "owl"))
    augmentation = dataset.augmentation()
    streamed = make_loader(dataset.train, 4, augmentation, seed=2, checksums=True)
    for one, other in zip(streamed.epoch(1), make_loader(images, 4, augmentation, seed=2).epoch(1), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
    assert streamed.info.labels.tolist() == LABELS
    assert next(iter(streamed.groups(1))).batch.keys.content is not None
    with pytest.raises(UserError, match=r"^data.loader.kind: 'memory' needs a source of images in memory"):
        make_loader(dataset.train, 4, config=LoaderConfig(kind="memory"))


def test_classes_without_names_are_the_labels():
    train, test = Rows(LABELS), Rows([0, 1])
    dataset = as_dataset((train, test), "mine")
    assert dataset.class_names == ("0", "1", "2")
    assert train.reads >= len(LABELS)  # it lists neither classes nor targets
    listed = Rows(LABELS, targets=LABELS)
    assert as_dataset((listed, test), "mine").class_names == ("0", "1", "2")
    assert listed.reads == 1  # for the shape


def test_its_own_validation_images():
    dataset = as_dataset({"train": Rows(LABELS), "test": Rows([0]), "validation": Rows([1, 2])}, "mine")
    assert len(dataset.validation) == 2


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            3,
            r"^data source 'mine' returned an object of type int; it has to return a smskd.data.Da",
        ),
        ({"train": Rows([0]), "tset": Rows([0])}, r"returned a part 'tset'; did you mean 'test'\?$"),
        (
            {"train": Rows([0])},
            "^data source 'mine': test must be a map-style data set of .image, label., not a NoneType$",
        ),
        (
            (iter([]), Rows([0])),
            "^data source 'mine': train must be a map-style .*, not a list_iterator: its samples can",
        ),
        ((Rows([]), Rows([0])), "^data source 'mine': train has no samples$"),
        ({"train": Rows([0]), "test": Rows([0]), "validation": None}, ": validation must be a map-style .* NoneType$"),
        ((Rows([0], ["cat"]), Rows([0], ["dog"])), "^test images: class 'dog' is not among the 1 classes of the tr"),
        ((Rows(["x", "y"]), Rows([0])), "^sample 0: the label is 'x'; it has to be an integer of 0 or more$"),
        (([(0, 0), (0, 0), (0, -1)], Rows([0])), "^sample 2: the label is -1; labels are 0 or more$"),
        (([3, 4, 5], Rows([0])), r"^sample 0 is a int; it has to be a pair \(image, label\)$"),
    ],
)
def test_mistakes(found, message):
    with pytest.raises(UserError, match=message):
        as_dataset(found, "mine")
