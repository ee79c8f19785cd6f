"""The data sets by name. Importing it costs nothing: torch comes in when one is loaded."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from smskd.errors import UserError, nearest

if TYPE_CHECKING:
    from smskd.data.dataset import Dataset

Track = Callable[[Iterable[int], int], Iterable[int]]
"""Shows progress: gives back what it iterates over, told beforehand how many there will be."""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    name: str
    root: Path | None
    download: bool
    train_limit: int | None
    test_limit: int | None
    seed: int
    image_column: str | None
    label_column: str | None
    image_size: tuple[int, int] | None
    channels: Literal[1, 3] | None
    track: Track | None


def names() -> tuple[str, ...]:
    """Every name that :func:`load` knows."""
    return tuple(_SOURCES)


def load(
    name: str,
    *,
    root: str | Path | None = None,
    download: bool = False,
    train_limit: int | None = None,
    test_limit: int | None = None,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
    image_size: Sequence[int] | None = None,
    channels: Literal[1, 3] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    track: Track | None = None,
) -> "Dataset":
    """A data set.

    Args:
        name: one of :func:`names`.
        root: folder of its files. Default ``data`` for CIFAR; ``parquet`` needs one; ``digits`` has no
            files.
        download: fetch missing files (CIFAR).
        train_limit: take only so many training pictures, a random part that the seed fixes; default all.
        test_limit: likewise for the test pictures.
        seed: of that choice.
        image_column: name of the pictures' column (``parquet``); default: found.
        label_column: name of the labels' column (``parquet``); default: found.
        image_size: (height, width) to which all pictures are resized (``parquet``); default: as they are.
        channels: 3 for RGB, 1 for gray (``parquet``); default 3.
        mean: per channel, of values scaled to 0..1; default: the published ones, else those of the training
            pictures that are loaded.
        std: likewise.
        track: is called as ``track(iterable, total)`` where pictures are decoded, to show progress.

    Raises:
        UserError: no such data set, an option that it does not have, or what is wrong with its files.
    """
    if name not in _SOURCES:
        raise UserError(f"no data set is called '{name}'{nearest(name, _SOURCES)}")
    wanted = _Wanted(
        name=name,
        root=None if root is None else Path(root).expanduser(),
        download=download,
        train_limit=train_limit,
        test_limit=test_limit,
        seed=seed,
        image_column=image_column,
        label_column=label_column,
        image_size=_pair(image_size),
        channels=channels,
        track=track,
    )
    dataset = _SOURCES[name](wanted)
    return replace(
        dataset,
        mean=dataset.mean if mean is None else tuple(mean),
        std=dataset.std if std is None else tuple(std),
    )


def _digits(wanted: _Wanted) -> "Dataset":
    from smskd.data.sources import digits

    _refuse_columns(wanted)
    return _limited(digits.load(), wanted)


def _cifar(wanted: _Wanted) -> "Dataset":
    from smskd.data.sources import cifar

    _refuse_columns(wanted)
    name: cifar.Name = "cifar10" if wanted.name == "cifar10" else "cifar100"
    return _limited(cifar.load(name, wanted.root or Path("data"), wanted.download), wanted)


def _parquet(wanted: _Wanted) -> "Dataset":
    if wanted.root is None:
        raise UserError("parquet needs root: the folder with the train and test files")
    from smskd.data.sources import parquet

    return parquet.load(
        wanted.root,
        image_column=wanted.image_column,
        label_column=wanted.label_column,
        image_size=wanted.image_size,
        channels=wanted.channels or 3,
        train_limit=wanted.train_limit,
        test_limit=wanted.test_limit,
        seed=wanted.seed,
        track=wanted.track,
    )


_SOURCES: Mapping[str, Callable[[_Wanted], "Dataset"]] = {
    "digits": _digits,
    "cifar10": _cifar,
    "cifar100": _cifar,
    "parquet": _parquet,
}


def _limited(dataset: "Dataset", wanted: _Wanted) -> "Dataset":
    train, test = dataset.train, dataset.test
    if wanted.train_limit is not None:
        train = train.subset(wanted.train_limit, wanted.seed)
    if wanted.test_limit is not None:
        test = test.subset(wanted.test_limit, wanted.seed)
    return replace(dataset, train=train, test=test)


def _refuse_columns(wanted: _Wanted) -> None:
    for option in ("image_column", "label_column", "image_size", "channels"):
        if getattr(wanted, option) is not None:
            raise UserError(f"{option} is an option of parquet; {wanted.name} has no use for it")


def _pair(size: Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if len(size) != 2 or any(side < 1 for side in size):
        raise UserError(f"image_size is {list(size)}; it has to be [height, width], both 1 or more")
    return size[0], size[1]
