"""How much of a streamed data set is held at a time: as many batches of a long epoch as of a short one."""

import weakref

import pytest
import torch

from smskd import data
from smskd.config.augmentation import AugmentationConfig, RandomResizedCropConfig
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, LoaderConfig
from smskd.data.loaders.reading import Plan
from smskd.data.loaders.streaming import StreamingLoader
from smskd.data.sources.image_files import ImageFiles
from smskd.data.sources.parquet_images import ParquetImages
from tests.support.labelled_folders import plain_folder
from tests.support.parquet_files import plain_parquet

BATCH = 2
HELD = 2 * BATCH
"""Images of the batch that is being read, and of the one before, which the loop still has."""

SHORT, LONG = 4, 40


class Counted(bytes):
    """Encoded images that are alive."""

    alive = most = 0

    def __init__(self, _content):
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self):
        Counted.alive -= 1


class Decoded:
    """A map-style data set that counts those of its images that are alive."""

    def __init__(self, images):
        self.images, self.alive, self.most = images, 0, 0

    def __len__(self):
        return self.images

    def __getitem__(self, row):
        image = torch.zeros(3, 4, 4, dtype=torch.uint8)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(image, self.freed)
        return image, row % 2

    def freed(self):
        self.alive -= 1


@pytest.mark.parametrize("batches", [SHORT, LONG])
def test_decoded_images(batches):
    dataset = Decoded(BATCH * batches)
    for _ in StreamingLoader(dataset, 2, BATCH).epoch(1):
        pass
    assert 0 < dataset.most <= HELD


@pytest.mark.parametrize("epochs", [1, 8])
@pytest.mark.parametrize("crops", [True, False])
@pytest.mark.parametrize(
    ("name", "write", "kind"), [("image_folder", plain_folder, ImageFiles), ("parquet", plain_parquet, ParquetImages)]
)
def test_encoded_images(tmp_path, monkeypatch, name, write, kind, crops, epochs):
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "cache"))
    crop = AugmentationConfig(random_resized_crop=RandomResizedCropConfig()) if crops else AugmentationConfig()
    source = ComponentConfig(name, {"root": str(write(tmp_path / "data")), "image_size": [4, 4]})
    dataset = data.load(DataConfig(source, augmentation=crop, loader=LoaderConfig(kind="streaming")))
    read = kind.read

    def counted(self, row):
        content, where = read(self, row)
        return Counted(content), where

    monkeypatch.setattr(kind, "read", counted)
    Counted.most = Counted.alive
    augmentation = data.Augmentation(mean=dataset.mean, std=dataset.std, further=crop if crops else None)
    loader = StreamingLoader(dataset.train, dataset.classes, BATCH, augmentation)
    assert loader.crops_whole_pictures == crops
    for epoch in range(epochs):
        for _ in loader.epoch(epoch):
            pass
    assert 0 < Counted.most <= HELD


def test_a_worker_is_asked_for_few_batches_ahead(monkeypatch):
    asked, batches = [], LONG
    requests = Plan.__iter__
    monkeypatch.setattr(Plan, "__iter__", lambda self: (asked.append(1) or request for request in requests(self)))
    dataset = torch.utils.data.TensorDataset(torch.zeros(BATCH * batches, 3, 4, 4), torch.arange(BATCH * batches) % 2)
    ahead = [len(asked) - number for number, _ in enumerate(StreamingLoader(dataset, 2, BATCH, workers=1).epoch(1))]
    assert len(ahead) == batches
    assert max(ahead) <= 3
