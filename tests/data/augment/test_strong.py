import math
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch.utils.data import Dataset

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.strong import OPERATIONS, _with_square, strong_view
from smskd.data.images import Images
from smskd.data.loaders.in_memory import MemoryLoader
from smskd.data.loaders.streaming import StreamingLoader
from smskd.errors import UserError

AUGMENTATION = Augmentation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
BYTES = Augmentation(mean=(0.0,) * 3, std=(1 / 255,) * 3)
STRONG = frozenset({"strong"})


def images(n=32, channels=3, height=32, width=32):
    """Smooth images, as photographs are, so that a pixel more or less shows little."""
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(n, channels, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255).to(torch.uint8)


def labelled(n=21, channels=3):
    return Images(images(n, channels, 8, 8), torch.arange(n) % 4, ("a", "b", "c", "d"))


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


PIL = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    "color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "identity": lambda image, _: image,
    "posterize": lambda image, v: ImageOps.posterize(image, int(v)),
    "rotate": lambda image, v: image.rotate(v),
    "sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
    "shear_x": lambda image, v: affine(image, 1, v, 0, 0, 1, 0),
    "shear_y": lambda image, v: affine(image, 1, 0, 0, v, 1, 0),
    "solarize": lambda image, v: ImageOps.solarize(image, v),
    "translate_x": lambda image, v: affine(image, 1, 0, v * image.size[0], 0, 1, 0),
    "translate_y": lambda image, v: affine(image, 1, 0, 0, 0, 1, v * image.size[1]),
}


def as_pil(image):
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if image.shape[0] == 1 else array)


def as_tensor(image):
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def test_the_operations_and_their_ranges_are_the_published_ones():
    ranges = {name: (operation.low, operation.high) for name, operation in OPERATIONS.items()}
    enhance, move = (0.05, 0.95), (-0.3, 0.3)
    assert ranges == {
        **dict.fromkeys(("autocontrast", "equalize", "identity"), (0, 1)),
        **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), enhance),
        **dict.fromkeys(("shear_x", "shear_y", "translate_x", "translate_y"), move),
        "posterize": (4, 8),
        "rotate": (-30, 30),
        "solarize": (0, 256),
    }


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_what_pil_does(name, channels):
    operation = OPERATIONS[name]
    batch = images(32, channels, 24, 32)
    # Away from the ends of the range and of whole pixels, where the last bit decides.
    strengths = torch.linspace(operation.low, operation.high, 34)[1:-1] + 1e-3 * (operation.high - operation.low)
    done = operation.apply(batch, strengths)
    assert done.dtype == torch.uint8
    assert done.shape == batch.shape
    expected = [PIL[name](as_pil(image), v) for image, v in zip(batch, strengths.tolist(), strict=True)]
    difference = (done.int() - torch.stack([as_tensor(image) for image in expected]).int()).abs()
    # Autocontrast may round otherwise; a turned pixel may land on its neighbour where sine and cosine are rounded.
    level, share = {"autocontrast": (1, 0.0), "rotate": (0, 1e-3)}.get(name, (0, 0.0))
    assert float((difference > level).float().mean()) <= share
    if name not in ("identity", "color"):
        assert (done != batch).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_square_is_the_one_that_pil_draws(channels):
    batch = images(32, channels, 24, 32)
    size, x, y = torch.rand(3, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    done = _with_square(batch, size, x, y)
    colour = (125, 123, 114) if channels == 3 else 123
    for row, (image, covered) in enumerate(zip(batch, done, strict=True)):
        side = float(size[row]) / 2 * 32
        left = int(max(0, float(x[row]) * 32 - side / 2))
        top = int(max(0, float(y[row]) * 24 - side / 2))
        expected = as_pil(image)
        ImageDraw.Draw(expected).rectangle((left, top, min(32, left + side), min(24, top + side)), colour)
        assert torch.equal(covered, as_tensor(expected))


def view(batch, index=None, seed=3, epoch=1, augmentation=AUGMENTATION):
    index = torch.arange(len(batch)) if index is None else index
    return strong_view(batch, augmentation, seed=seed, epoch=epoch, index=index)


def test_what_a_sample_meets_follows_from_seed_epoch_and_index():
    batch = images(40)
    whole = view(batch)
    assert torch.equal(view(batch), whole)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    for rows in order.split([1, 12, 27]):
        assert torch.equal(view(batch[rows], rows), whole[rows])
    for other in (view(batch, seed=4), view(batch, epoch=2), view(batch, torch.arange(40) + 1)):
        assert (other != whole).flatten(1).any(1).sum() > 30


def test_every_sample_meets_something_else():
    same = images(1).expand(64, -1, -1, -1)
    assert len({row.numpy().tobytes() for row in view(same)}) == 64


def test_it_is_normalised_and_in_the_memory_format():
    augmentation = Augmentation(mean=AUGMENTATION.mean, std=AUGMENTATION.std, memory_format=torch.channels_last)
    x = view(images(), augmentation=augmentation)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    low = [-mean / std for mean, std in zip(AUGMENTATION.mean, AUGMENTATION.std, strict=True)]
    high = [(1 - mean) / std for mean, std in zip(AUGMENTATION.mean, AUGMENTATION.std, strict=True)]
    assert (x.amin((0, 2, 3)) >= torch.tensor(low) - 1e-5).all()
    assert (x.amax((0, 2, 3)) <= torch.tensor(high) + 1e-5).all()


def test_operations_are_equally_frequent_and_the_square_is_everywhere(monkeypatch):
    met = []
    for place in range(len(OPERATIONS)):
        # A constant image reveals which operation it went through, if every operation sets one of its own.
        monkeypatch.setattr(
            "smskd.data.augment.strong._APPLY",
            tuple(lambda group, _, hit=(number == place): group + hit for number in range(len(OPERATIONS))),
        )
        black = torch.zeros(3000, 1, 4, 4, dtype=torch.uint8)
        gray = Augmentation(mean=(0.0,), std=(1 / 255,), padding=0, flip=False)
        times = view(black, augmentation=gray).amin((1, 2, 3))
        assert set(times.tolist()) <= {0.0, 1.0, 2.0, 123.0}
        met.append(float(times[times < 100].mean()))
    assert sum(met) == pytest.approx(2, rel=0.02)
    # 2 of 14 each; six standard deviations of the mean of 3000 binomial draws.
    assert all(abs(share - 1 / 7) < 6 * math.sqrt(2 * 13 / 14**2 / 2700) for share in met)


def test_the_square_covers_a_twelfth_of_the_image_on_average():
    monochrome = torch.zeros(4000, 3, 32, 32, dtype=torch.uint8)
    size, x, y = torch.rand(3, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    covered = (_with_square(monochrome, size, x, y)[:, 0] == 125).float()
    # The mean of (u/2)^2 is 1/12, a little more for the pixel at the end, less for what is beyond the border.
    assert float(covered.mean()) == pytest.approx(1 / 12, rel=0.1)
    everywhere = covered.mean(0)
    assert float(everywhere.min()) > 0.02


@pytest.mark.parametrize("channels", [1, 3])
def test_both_loaders_bring_it(channels):
    some = labelled(channels=channels)
    augmentation = Augmentation(mean=(0.4,) * channels, std=(0.3,) * channels, padding=2)
    memory = MemoryLoader(some, 8, augmentation, seed=3)
    streaming = StreamingLoader(some, 4, 8, augmentation, seed=3)
    for epoch in (1, 2):
        for one, other in zip(memory.epoch(epoch, views=STRONG), streaming.epoch(epoch, views=STRONG), strict=True):
            assert one.views.keys() == other.views.keys() == {"strong"}
            assert torch.equal(one.views["strong"], other.views["strong"])
            assert one.views["strong"].shape == one.x.shape
            assert one.index is not None
            expected = view(some.pixels[one.index], one.index, 3, epoch, augmentation)
            assert torch.equal(one.views["strong"], expected)


def test_the_training_images_stay_the_same():
    loader = MemoryLoader(labelled(), 8, AUGMENTATION, seed=3)
    with_views, without = list(loader.epoch(1, views=STRONG)), list(loader.epoch(1))
    assert all(torch.equal(one.x, other.x) for one, other in zip(with_views, without, strict=True))
    assert all(not batch.views for batch in without)


def test_workers_and_missing_augmentation_change_nothing_of_it():
    alone, helped = (StreamingLoader(labelled(), 4, 8, seed=1, workers=workers) for workers in (0, 1))
    for one, other in zip(alone.epoch(1, views=STRONG), helped.epoch(1, views=STRONG), strict=True):
        assert torch.equal(one.views["strong"], other.views["strong"])
        assert one.views["strong"].amax() <= 1


@pytest.mark.parametrize("loader", [MemoryLoader(labelled(), 8), StreamingLoader(labelled(), 4, 8)])
def test_the_global_random_state_is_neither_read_nor_moved(loader):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = [batch.views["strong"] for batch in loader.epoch(1, views=STRONG)]
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    again = [batch.views["strong"] for batch in loader.epoch(1, views=STRONG)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("loader", [MemoryLoader(labelled(), 8), StreamingLoader(labelled(), 4, 8)])
def test_an_unknown_view(loader):
    with pytest.raises(UserError, match=r"^no view of the images is called 'strnog'; did you mean 'strong'\?$"):
        next(loader.epoch(1, views=frozenset({"strnog"})))


class Floats(Dataset):
    """A data set whose own transforms have made floats."""

    def __len__(self):
        return 12

    def __getitem__(self, row):
        return torch.zeros(3, 4, 4), row % 2


def test_floats_have_no_strong_view():
    loader = StreamingLoader(Floats(), 2, 4)
    assert next(loader.epoch(1)).x.shape == (4, 3, 4, 4)
    with pytest.raises(UserError, match="the strong view is made of images of bytes, and the data set") as caught:
        next(loader.epoch(1, views=STRONG))
    assert "\n" not in str(caught.value)


def test_images_of_four_channels_have_no_strong_view():
    loader = MemoryLoader(labelled(channels=4), 8)
    with pytest.raises(UserError, match="images of 1 or 3 channels, not 4"):
        next(loader.epoch(1, views=STRONG))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives():
    here, there = (
        next(MemoryLoader(labelled(), 20, BYTES, seed=3, device=device).epoch(4, views=STRONG)).views["strong"].cpu()
        for device in ("cpu", "cuda")
    )
    assert ((here - there).abs() > 1.001).float().mean() < 1e-2
