import math

import pytest
import torch
from torchvision.transforms import v2

from smskd.data.augment.crop_flip import Augmentation
from smskd.errors import UserError

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def images(n, height=32, width=32, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=generator)


def one_by_one(batch, padding, dy, dx, flip, mean=MEAN, std=STD):
    """The output of torchvision for each image by itself."""
    done = []
    for image, top, left, mirrored in zip(batch, dy.tolist(), dx.tolist(), flip.tolist(), strict=True):
        padded = v2.functional.pad(image, [padding] * 4)
        window = v2.functional.crop(padded, top, left, *image.shape[1:])
        if mirrored:
            window = v2.functional.horizontal_flip(window)
        scaled = v2.functional.to_dtype(window, torch.float64, scale=True)
        done.append(v2.functional.normalize(scaled, list(mean), list(std)))
    return torch.stack(done).float()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("padding", "flip"), [(4, True), (1, False), (0, True), (0, False)])
@pytest.mark.parametrize("size", [(32, 32), (7, 12)])
def test_agrees_with_torchvision(size, padding, flip, memory_format):
    augmentation = Augmentation(mean=MEAN, std=STD, padding=padding, flip=flip, memory_format=memory_format)
    batch, index = images(40, *size), torch.arange(40) * 3
    x = augmentation(batch, seed=5, epoch=2, index=index)
    expected = one_by_one(batch, padding, *augmentation.draws(5, 2, index))
    torch.testing.assert_close(x, expected, rtol=0, atol=2e-6)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=memory_format)


def test_every_variant_matches_its_number():
    augmentation = Augmentation(mean=MEAN, std=STD, padding=1)
    assert augmentation.variants == 18
    variant = torch.arange(18)
    dy, dx, flip = augmentation.decode(variant)
    assert len(set(zip(dy.tolist(), dx.tolist(), flip.tolist(), strict=True))) == 18
    image = images(1).expand(18, -1, -1, -1)
    done = augmentation.apply(image, variant)
    torch.testing.assert_close(done, one_by_one(image, 1, dy, dx, flip), rtol=0, atol=2e-6)
    assert len({row.numpy().tobytes() for row in done}) == 18


def test_plain_normalises_only():
    plain = Augmentation(mean=MEAN, std=STD).plain()
    batch, index = images(5), torch.arange(5)
    assert plain.variants == 1
    assert torch.equal(plain(batch, seed=1, epoch=1, index=index), plain.apply(batch))
    expected = one_by_one(batch, 0, *[torch.zeros(5, dtype=torch.int64)] * 3)
    torch.testing.assert_close(plain.apply(batch), expected, rtol=0, atol=2e-6)


def test_a_draw_depends_on_nothing_but_seed_epoch_and_index():
    augmentation = Augmentation(mean=MEAN, std=STD)
    batch, index = images(64), torch.arange(64)
    whole = augmentation(batch, seed=3, epoch=7, index=index)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for rows in order.split([1, 20, 43]):
        assert torch.equal(augmentation(batch[rows], seed=3, epoch=7, index=index[rows]), whole[rows])


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def limit(categories):
    """Six standard deviations above the mean of the chi-square distribution."""
    freedom = categories - 1
    return freedom + 6 * math.sqrt(2 * freedom)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 1), (0, 240), (2**40, 3)])
def test_offsets_and_flips_are_equally_frequent(seed, epoch):
    augmentation = Augmentation(mean=MEAN, std=STD)
    index = torch.arange(50_000)
    dy, dx, flip = augmentation.draws(seed, epoch, index)
    for draw, categories in ((dy, 9), (dx, 9), (flip.long(), 2)):
        assert chi_square(torch.bincount(draw, minlength=categories).double()) < limit(categories)
    variants = torch.bincount(augmentation.variant(seed, epoch, index), minlength=162).double()
    assert chi_square(variants) < limit(162)


@pytest.mark.parametrize("other", [(0, 2), (1, 1), (1, 0)])
def test_epochs_seeds_and_neighbours_are_independent(other):
    augmentation = Augmentation(mean=MEAN, std=STD, padding=1)
    index = torch.arange(50_000)
    one = augmentation.variant(0, 1, index)
    for another in (augmentation.variant(*other, index), augmentation.variant(0, 1, index + 1)):
        pairs = torch.bincount(one * 18 + another, minlength=18 * 18).double()
        assert chi_square(pairs) < limit(18 * 18)


def test_constants_made_in_inference_mode_serve_training():
    augmentation = Augmentation(mean=(0.123,), std=(0.456,))
    with torch.inference_mode():
        augmentation.apply(images(2, channels=1))
    x = augmentation.apply(images(2, channels=1))
    weight = torch.ones(1, requires_grad=True)
    (x * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"padding": -1}, "padding is -1"),
        ({"std": (0.1, 0.2)}, "mean has 3 values and std 2"),
        ({"std": (0.1, 0.2, 0)}, "above 0"),
        ({"std": (0.1, 0.2, math.nan)}, "above 0"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(UserError, match=message):
        Augmentation(**{"mean": MEAN, "std": STD, **changes})


def test_channels_have_to_fit():
    with pytest.raises(UserError, match=r"1 channel\(s\), but mean and std have 3"):
        Augmentation(mean=MEAN, std=STD).apply(images(2, channels=1))
