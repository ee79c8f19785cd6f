"""One sample of a map-style data set as the pair (image, label), and its mistakes in a line that names it."""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smskd.errors import UserError

IMAGE_KEYS = ("image", "img", "pixel_values")
LABEL_KEYS = ("label", "labels", "fine_label")
"""Names that `datasets` and `transformers` use."""


def read_pair(dataset: Any, row: int, where: str) -> tuple[Any, Any]:
    """Image and label of a sample, as the data set gives them.

    Args:
        dataset: with ``__getitem__``.
        row: the index to read.
        where: name of the sample, for messages.

    Raises:
        UserError: the data set raises an exception, which is its cause; or the sample is not a pair or a dict with an
            image and a label.
    """
    try:
        sample = dataset[row]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where}: the data set raised {_in_words(error)}") from error
    return pair_of(sample, where)


def pair_of(sample: Any, where: str) -> tuple[Any, Any]:
    """Image and label of a sample: a pair, or a dict with one of the usual keys for each.

    Raises:
        UserError: it is neither.
    """
    if isinstance(sample, Mapping):
        return sample[_key(sample, IMAGE_KEYS, where)], sample[_key(sample, LABEL_KEYS, where)]
    if not isinstance(sample, Sequence) or isinstance(sample, str | bytes):
        raise UserError(f"{where} is a {type(sample).__name__}; it has to be a pair (image, label)")
    if len(sample) != 2:
        raise UserError(f"{where} has {len(sample)} elements; it has to be a pair (image, label)")
    return sample[0], sample[1]


def _key(sample: Mapping[Any, Any], usual: tuple[str, ...], where: str) -> str:
    found = [key for key in usual if key in sample]
    if len(found) == 1:
        return found[0]
    keys = ", ".join(map(str, sample)) or "none"
    raise UserError(f"{where} is a dict with the keys {keys}; it has to have exactly one of {', '.join(usual)}")


def _in_words(error: Exception) -> str:
    """Type, message and place of an exception: `KeyError: 'x' (mydata.py, line 7)`."""
    message = " ".join(str(error).split())
    kind = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is read_pair itself
    return f"{kind} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else kind
