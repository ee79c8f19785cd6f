"""Images held out of training, on which the best epoch is selected."""

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from smskd.config.base import ComponentConfig
from smskd.config.data import LoaderConfig, SubsetConfig, ValidationConfig
from smskd.data.dataset import Dataset
from smskd.data.equal_images import image_digest, image_digests
from smskd.data.images import Images, check_labels
from smskd.data.listed import listed_class_names
from smskd.data.samples import Samples, Split, StreamedSamples, read_image, read_labels
from smskd.data.sources.catalog import Track
from smskd.data.sources.read import read_source
from smskd.data.splits import fitted_names
from smskd.data.stratified import stratified_mask
from smskd.data.text_dataset import TextDataset
from smskd.data.texts import Texts
from smskd.errors import UserError

D = TypeVar("D", bound=Dataset | TextDataset)

Part = Split | Texts
"""A part of a data set of images or of texts."""

_VALIDATION = 0x76616C6964
"""Sets the hash of the validation split apart from other hashes of (seed, row)."""


def with_validation(
    dataset: D,
    config: ValidationConfig,
    source: ComponentConfig,
    track: Track | None = None,
    loader: LoaderConfig | None = None,
) -> D:
    """The data set with validation images.

    With ``fraction`` or ``count`` they are taken out of the training images, and mean and standard deviation stay
    those of all of them. Test images of the data set itself are never among them.

    Args:
        dataset: whose training images are already the subset that is used.
        config: the validation split.
        source: the data source of ``dataset``.
        track: shows progress.
        loader: see :func:`smskd.data.sources.read.read_source`.

    Raises:
        UserError: no images would be left to train on, or the images of ``config.source`` do not fit.
    """
    if config.source is not None:
        validation = _of_source(config.source, dataset.class_names, track, loader)
        check_apart(validation, dataset.train, dataset.test)
        return replace(dataset, validation=validation)
    train, validation = split_samples(dataset.train, config, dataset.classes, track)
    return replace(dataset, train=train, validation=validation)


def split_samples(
    samples: Samples | Part, config: ValidationConfig, classes: int, track: Track | None = None
) -> tuple[Any, Any]:
    """Training samples and validation samples.

    Each class gives its share, rounded by the largest remainders. The choice follows from labels and seed alone,
    whatever the versions of libraries.

    Args:
        samples: the training data: map-style data set of (image, label) pairs, or texts. Its labels are taken from
            ``targets`` or ``labels``; where it lists none, every sample is read once.
        config: the validation split; of ``config.source`` all test images are the validation samples, and all
            ``samples`` remain training samples.
        classes: number of classes.
        track: shows progress where samples are read.

    Returns:
        Both in the order of ``samples``, read from it when needed.

    Raises:
        UserError: no samples would be left to train on, a label is out of range, or the images of ``config.source``
            do not fit.
    """
    split = _as_split(samples, classes)
    if config.source is not None:
        return split, _of_source(config.source, split.class_names, track)
    labels = (split.known_labels() if isinstance(split, Texts) else read_labels(split, track)).cpu()
    check_labels(labels, classes)
    held_out = stratified_mask(labels, classes, _wanted(len(labels), config), _VALIDATION, config.seed)
    return split.take(_rows(~held_out)), split.take(_rows(held_out))


_DUPLICATES = 0.01
"""Share of the validation images that may be among others: real data sets have a few duplicates."""


_SAMPLED = 500
"""Streamed images that are read to be compared."""


def check_apart(validation: Part, train: Part, test: Part) -> None:
    """Refuses validation images that are test images or training images.

    Images in memory are compared by their pixels, with streamed ones as many of these as 500, evenly spread. Of samples
    that are streamed from one and the same data set their positions are compared, and of others the fingerprints.

    Raises:
        UserError: more than one in a hundred validation images is among them.
    """
    for name, other in (("test", test), ("training", train)):
        if _shared(validation, other) > _DUPLICATES * len(validation):
            raise UserError(
                f"validation: these are {name} images, at least in part; `best` is selected on images that take no "
                "other part: choose another source, or fraction or count"
            )


def _shared(one: Part, other: Part) -> int:
    """The number of samples of one that are in the other, as far as that can be known."""
    if isinstance(one, Images) and isinstance(other, Images):
        known = set(image_digests(other))
        return sum(value in known for value in image_digests(one))
    if isinstance(one, Texts) and isinstance(other, Texts):
        known = set(other.digests())
        return sum(value in known for value in one.digests())
    if isinstance(one, StreamedSamples) and isinstance(other, StreamedSamples) and one.dataset is other.dataset:
        return len(set(_positions(one)) & set(_positions(other)))
    if isinstance(one, Images) and isinstance(other, StreamedSamples):
        return _sampled(one, other)
    if isinstance(one, StreamedSamples) and isinstance(other, Images):
        return _sampled(other, one)
    return len(one) if one.fingerprint() == other.fingerprint() else 0


def _sampled(held: Images, streamed: StreamedSamples) -> int:
    """About how many streamed images are among those in memory; 0 where hardly any of those that are read are."""
    known, total = set(image_digests(held)), len(streamed)
    rows = range(0, total, max(1, total // _SAMPLED))
    found = sum(image_digest(read_image(streamed, row)) in known for row in rows)
    return found * total // len(rows) if found > _DUPLICATES * len(rows) else 0


def _positions(samples: StreamedSamples) -> list[int]:
    return list(range(len(samples))) if samples.indices is None else samples.indices.tolist()


def _wanted(total: int, config: ValidationConfig) -> int:
    wanted = config.count if config.fraction is None else max(1, round(config.fraction * total))
    if wanted is None or wanted >= total:
        raise UserError(f"validation: {wanted} of {total} training images were requested; leave some to train on")
    return wanted


def _of_source(
    source: ComponentConfig, class_names: tuple[str, ...], track: Track | None, loader: LoaderConfig | None = None
) -> Any:
    test = read_source(source, SubsetConfig(), track, "validation.source", loader).test
    try:
        return test.with_classes(class_names)
    except UserError as error:
        raise UserError(f"validation.source: {error}") from None


def _as_split(samples: Samples | Part, classes: int) -> Part:
    if isinstance(samples, Images | StreamedSamples | Texts):
        return samples
    return StreamedSamples(samples, fitted_names(listed_class_names(samples), classes))


def _rows(mask: Tensor) -> Tensor:
    return torch.nonzero(mask)[:, 0]
