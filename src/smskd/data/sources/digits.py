"""The handwritten digits that come with scikit-learn: 1,797 pictures of 8x8 gray pixels, no download.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits (UCI, 1998), the test part.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from smskd.data.counter_rng import mix
from smskd.data.dataset import Dataset, Images, channel_statistics

TEST_SAMPLES = 360
"""A fifth; 1,437 are left to train on."""


def load() -> Dataset:
    """The digits, split in a fixed way that holds the classes' shares.

    Values of 0 to 16 are scaled to 0 to 255. The customary augmentation is a crop by 1 pixel and no flip: a
    mirrored digit is another sign.
    """
    source = load_digits()
    images = torch.from_numpy(source.images)[:, None]
    images = (images * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(source.target).to(torch.int64)
    names = tuple(str(name) for name in source.target_names)
    in_test = stratified_mask(labels, len(names), TEST_SAMPLES)
    train = Images(images[~in_test], labels[~in_test], names)
    mean, std = channel_statistics(train)
    test = Images(images[in_test], labels[in_test], names)
    return Dataset(name="digits", train=train, test=test, mean=mean, std=std, padding=1, flip=False)


def stratified_mask(labels: Tensor, classes: int, wanted: int) -> Tensor:
    """A fixed choice of ``wanted`` rows, bool [N], in which each class has its share of the whole.

    It hangs on a hash of the row numbers, so no release of a library can change it.
    """
    quotas = _quotas(torch.bincount(labels, minlength=classes).tolist(), wanted)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, quota in enumerate(quotas):
        rows: list[int] = (labels == label).nonzero()[:, 0].tolist()
        chosen[sorted(rows, key=mix)[:quota]] = True
    return chosen


def _quotas(counts: list[int], wanted: int) -> list[int]:
    """``wanted`` shared out in proportion to the counts, by the largest remainders."""
    total = sum(counts)
    quotas = [wanted * count // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda label: -(wanted * counts[label] % total))
    for label in by_remainder[: wanted - sum(quotas)]:
        quotas[label] += 1
    return quotas
