import pytest
import torch
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from smskd.config.augmentation import AugmentationConfig
from smskd.data.augment.mixing import drawn_mixing

SIZE, CPU = (9, 12), torch.device("cpu")


def drawn(sizes=(6, 5), first=0, epoch=1, seed=4, **settings):
    config = AugmentationConfig(**settings)
    return drawn_mixing(config, sizes, SIZE, seed=seed, epoch=epoch, first=first, device=CPU)


def batch(n=11):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, *SIZE, generator=generator), torch.randint(0, 4, (n,), generator=generator)


class Fixed(v2.MixUp):
    """Torchvision's mixup with a given share."""

    def make_params(self, flat_inputs):
        return {"lam": self.alpha}


class FixedBox(v2.CutMix):
    """Torchvision's CutMix with a given box."""

    box: tuple[int, int, int, int]

    def make_params(self, flat_inputs):
        left, top, right, bottom = self.box
        return {"box": self.box, "lam_adjusted": 1 - (right - left) * (bottom - top) / (SIZE[0] * SIZE[1])}


def test_mixup_is_that_of_torchvision_in_each_batch():
    x, y = batch()
    mixing = drawn(mixup=0.8)
    begin, shares = 0, []
    for size in (6, 5):
        rows = slice(begin, begin + size)
        share = float(mixing.share[begin])
        shares.append(share)
        transform = Fixed(num_classes=4)
        transform.alpha = share
        images, targets = transform(x[rows], y[rows])
        torch.testing.assert_close(mixing.images(x)[rows], images)
        torch.testing.assert_close(mixing.targets(y, 4)[rows], targets.float())
        begin += size
    assert shares[0] != shares[1]


def test_cutmix_is_that_of_torchvision_in_each_batch():
    x, y = batch()
    mixing = drawn(cutmix=1.0)
    begin = 0
    for size in (6, 5):
        rows = slice(begin, begin + size)
        top, left, height, width = (
            int(getattr(mixing.boxes, name)[begin]) for name in ("top", "left", "height", "width")
        )
        assert 0 < height * width < SIZE[0] * SIZE[1]
        transform = FixedBox(num_classes=4)
        transform.box = left, top, left + width, top + height
        images, targets = transform(x[rows], y[rows])
        assert torch.equal(mixing.images(x)[rows], images)
        torch.testing.assert_close(mixing.targets(y, 4)[rows], targets.float())
        begin += size


def test_targets_are_shares_of_two_classes_and_the_heavier_one_is_the_label():
    _, y = batch()
    for epoch in range(1, 9):
        mixing = drawn(epoch=epoch, mixup=1.0)
        targets = mixing.targets(y, 4)
        torch.testing.assert_close(targets.sum(1), torch.ones(11))
        assert torch.equal(targets.argmax(1), mixing.heavier(y))
        share = mixing.share[:, None]
        expected = share * one_hot(y, 4) + (1 - share) * one_hot(y[mixing.partner], 4)
        torch.testing.assert_close(targets, expected)


@pytest.mark.parametrize("settings", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_a_batch_is_mixed_alike_alone_and_within_a_group(settings):
    x, y = batch()
    whole, second = drawn(**settings), drawn(sizes=(5,), first=1, **settings)
    assert torch.equal(whole.images(x)[6:], second.images(x[6:]))
    assert torch.equal(whole.targets(y, 4)[6:], second.targets(y[6:], 4))


def test_shares_follow_the_beta_distribution():
    shares = torch.stack([drawn(sizes=(1,), first=n, mixup=0.5).share[0] for n in range(800)]).double()
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)).
    assert abs(float(shares.mean()) - 0.5) < 0.05
    assert abs(float(shares.var()) - 1 / 8) < 0.02


def test_of_both_one_is_drawn_for_each_batch():
    cuts = [bool(drawn(sizes=(2,), first=n, mixup=0.5, cutmix=1.0).boxes.width[0]) for n in range(300)]
    assert 0.35 < sum(cuts) / 300 < 0.6
    assert not any(bool(drawn(sizes=(2,), first=n, mixup=0.5).boxes.width[0]) for n in range(50))


def test_repeated_images_are_not_mixed_with_themselves():
    index = torch.tensor([7, 7, 7, 3, 3, 3, 5, 5])
    mixing = drawn(sizes=(8,), mixup=0.5, repeats=3)
    assert (index[mixing.partner] != index).all()


def test_memory_format_is_kept():
    x = batch()[0].contiguous(memory_format=torch.channels_last)
    assert drawn(cutmix=1.0).images(x).is_contiguous(memory_format=torch.channels_last)
