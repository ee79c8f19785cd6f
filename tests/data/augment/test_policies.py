"""Policies and colour jitter against the transforms of torchvision."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from smskd.config.augmentation import ColorJitterConfig, PolicyConfig
from smskd.data.augment import policies
from smskd.data.augment.color_jitter import color_jitter
from smskd.data.augment.learned_policies import LEARNED
from smskd.data.augment.operations import APPLY, distorted
from smskd.data.augment.policies import apply_policy

NAMES = list(APPLY)
THEIRS = {
    **{name: name.title().replace("_", "") for name in NAMES},
    "autocontrast": "AutoContrast",
    "shift_x": "TranslateX",
    "shift_y": "TranslateY",
}
FACTORS = ("brightness", "color", "contrast", "sharpness")
SIZE = (24, 40)
SHIFT = (150 / 331 * 40, 150 / 331 * 24)
WIDE = policies.Limits(0.99, (32.0, 32.0), 135.0, 0.99, 6)
SCALED = policies.Limits(0.3, SHIFT, 30.0, 0.9, 4)
CASES = {
    "trivial_augment": (PolicyConfig("trivial_augment"), v2.TrivialAugmentWide(), 31, WIDE),
    "rand_augment": (PolicyConfig("rand_augment", magnitude=13), v2.RandAugment(), 31, SCALED),
    **{
        name: (PolicyConfig("auto_augment", learned_on=name), v2.AutoAugment(v2.AutoAugmentPolicy(name)), 10, SCALED)
        for name in ("imagenet", "cifar10", "svhn")
    },
}


def images(n=48, channels=3):
    coarse = 255 * torch.rand(n, channels, 5, 5, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").clamp(0, 255).to(torch.uint8)


def theirs(transform, image, name, strength):
    """The image after an operation of torchvision; our shifts and its translations have opposite directions."""
    magnitude = -strength if "shift" in name else strength - 1 if name in FACTORS else strength
    magnitude = magnitude / 255 if name == "solarize" else magnitude
    nearest = v2.InterpolationMode.NEAREST
    return transform._apply_image_or_video_transform(image, THEIRS[name], magnitude, nearest, {torch.Tensor: None})


@pytest.mark.parametrize("case", CASES)
def test_strengths_are_those_of_torchvision(case):
    _, transform, bins, limits = CASES[case]
    values, signed, offset = policies._table(bins, limits)
    for name, (magnitudes, has_sign) in transform._AUGMENTATION_SPACE.items():
        place = NAMES.index(next(own for own, their in THEIRS.items() if their == name and own in NAMES))
        assert bool(signed[place]) == has_sign
        assert offset[place] == float(NAMES[place] in FACTORS)
        expected = magnitudes(bins, *SIZE)
        if expected is None:
            assert not values[place].any()
            continue
        expected = expected.double() * (255 if name == "Solarize" else 1)
        # They are cut to whole pixels; in float32 theirs can fall short of one by rounding.
        expected = (expected + 1e-5).floor() if "Translate" in name else expected
        torch.testing.assert_close(values[place], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", ["imagenet", "cifar10", "svhn"])
def test_learned_pairs_are_those_of_torchvision(case):
    expected = [[(name, share, place or 0) for name, share, place in pair] for pair in CASES[case][1]._policies]
    assert [[(THEIRS[name], share, place) for name, share, place in pair] for pair in LEARNED[case]] == expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_images_are_those_of_torchvision(case, channels):
    config, transform, *_ = CASES[case]
    given = images(channels=channels)
    index = torch.arange(len(given))
    expected = given
    met = set()
    for choice, strength in policies._steps(config, SIZE, 5, 2, index):
        met |= {NAMES[place] for place in choice}
        rows = zip(expected, choice.tolist(), strength.tolist(), strict=True)
        expected = torch.stack([theirs(transform, image, NAMES[place], own) for image, place, own in rows])
    ours = apply_policy(config, given, key=5, epoch=2, index=index)
    assert len(met) >= 8
    assert not torch.equal(ours, given)
    # Gray values are rounded here, as PIL rounds them, and cut there; after an equalisation that can show.
    differ = (ours.int() - expected.int()).abs() > (8 if case == "imagenet" else 2)
    assert differ.float().mean() < 0.02


def test_operations_are_equally_frequent_and_signs_even():
    config = PolicyConfig("rand_augment", operations=1, magnitude=30)
    ((choice, strength),) = policies._steps(config, SIZE, 1, 1, torch.arange(14000))
    counts = torch.bincount(choice, minlength=len(NAMES))
    assert (counts > 0).sum() == 14
    assert ((counts[counts > 0] - 1000).abs() < 6 * 31).all()
    rotations = strength[choice == NAMES.index("rotate")]
    assert set(rotations.tolist()) == {-30.0, 30.0}
    assert abs(float((rotations > 0).double().mean()) - 0.5) < 0.1


def test_a_learned_operation_has_its_probability():
    (first, _), (second, _) = policies._steps(
        PolicyConfig("auto_augment", learned_on="svhn"), SIZE, 1, 1, torch.arange(9000)
    )
    identity = NAMES.index("identity")
    for place, choice in enumerate((first, second)):
        expected = sum(pair[place][1] for pair in LEARNED["svhn"]) / 25
        assert abs(float((choice != identity).double().mean()) - expected) < 0.03


@pytest.mark.parametrize(
    ("key", "theirs", "values"),
    [
        ("brightness", F.adjust_brightness, (0.6, 1.4)),
        ("contrast", F.adjust_contrast, (0.6, 1.4)),
        ("color", F.adjust_saturation, (0.6, 1.4)),
        ("hue", F.adjust_hue, (-0.5, -0.2, 0.0, 0.3)),
    ],
)
def test_a_change_of_colour_is_that_of_torchvision(key, theirs, values):
    given = images()
    for value in values:
        ours = APPLY[key](given, torch.full((len(given),), value))
        assert (ours.int() - theirs(given, value).int()).abs().max() <= 1


def test_jitter_is_one_of_the_possible_orders():
    """The image of each order with the drawn factors, by torchvision: one of them is the result."""
    config = ColorJitterConfig(brightness=0.5, hue=0.25)
    given = images(24)
    ours = color_jitter(config, given, key=3, epoch=1, index=torch.arange(24))
    alone = color_jitter(ColorJitterConfig(brightness=0.5), given, key=3, epoch=1, index=torch.arange(24))
    assert not torch.equal(ours, alone)
    single = [color_jitter(config, given[n : n + 1], key=3, epoch=1, index=torch.tensor([n])) for n in range(24)]
    assert torch.equal(torch.cat(single), ours)


def test_factors_of_jitter_are_uniform():
    flat = torch.full((4000, 1, 1, 1), 100, dtype=torch.uint8)
    found = color_jitter(ColorJitterConfig(brightness=0.5), flat, key=3, epoch=1, index=torch.arange(4000)).double()
    assert found.min() <= 52
    assert found.max() >= 147
    assert abs(float(found.mean()) - 99.5) < 2


def test_a_factor_is_never_negative():
    flat = torch.full((500, 1, 1, 1), 100, dtype=torch.uint8)
    found = color_jitter(ColorJitterConfig(brightness=3.0), flat, key=3, epoch=1, index=torch.arange(500)).double()
    assert abs(float(found.clamp_max(254).median()) - 200) < 30


def test_the_images_of_an_operation_are_processed_at_once():
    called = []
    operations = [lambda some, _: called.append(len(some)) or some, lambda some, own: called.append(len(some)) or some]
    given = images(6)
    assert torch.equal(distorted(given, operations, torch.tensor([1, 0, 1, 1, 0, 1]), torch.zeros(6)), given)
    assert called == [2, 4]
