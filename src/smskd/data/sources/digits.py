"""The handwritten digits that come with scikit-learn: 1,797 images of 8x8 gray pixels, no download.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits (UCI, 1998), the test part.
"""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from smskd.data.dataset import Dataset
from smskd.data.images import Images
from smskd.data.statistics import channel_statistics
from smskd.data.stratified import stratified_mask
from smskd.errors import UserError

TEST_SAMPLES = 360
"""A fifth; 1,437 are left to train on."""

_SHAPE = (1797, 65)


def digits(test_samples: int = TEST_SAMPLES) -> Dataset:
    """The digits, in a fixed stratified split.

    Values of 0 to 16 are scaled to 0 to 255. The customary augmentation is a crop by 1 pixel and no flip: a
    mirrored digit is another sign.

    Args:
        test_samples: number of test images, from 1 to 1796; default 360. The other images are the training images.

    Raises:
        UserError: there are not that many images.
    """
    table = torch.from_numpy(_table())
    pixels = table[:, :-1].reshape(-1, 1, 8, 8)
    pixels = (pixels * (255 / 16)).round().to(torch.uint8)
    labels = table[:, -1].to(torch.int64)
    names = tuple("0123456789")
    if not 1 <= test_samples < len(labels):
        raise UserError(f"test_samples must be from 1 to {len(labels) - 1}, not {test_samples}")
    in_test = stratified_mask(labels, len(names), test_samples)
    train = Images(pixels[~in_test], labels[~in_test], names)
    mean, std = channel_statistics(train)
    test = Images(pixels[in_test], labels[in_test], names)
    return Dataset(name="digits", train=train, test=test, mean=mean, std=std, padding=1, flip=False)


def _table() -> npt.NDArray[np.float64]:
    """A row for each image: the values of its 64 pixels, from 0 to 16, and its digit.

    scikit-learn's file is read without importing scikit-learn, which takes longer than a short run.
    """
    found = find_spec("sklearn")
    for folder in found.submodule_search_locations or () if found else ():
        with suppress(OSError, ValueError, EOFError):
            table = np.loadtxt(Path(folder) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
            if table.shape == _SHAPE:
                return table
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])
