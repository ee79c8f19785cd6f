"""What networks have learned from, compared with the data of a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from smskd import models
from smskd.data import Augmentation, Dataset, Images, TextDataset
from smskd.data.samples import Split, read_image
from smskd.data.texts import prefix_of
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs, form_of
from smskd.models.as_learned import with_class_order, with_normalisation
from smskd.models.metadata import Facts, set_facts


def facts_of_data(dataset: Dataset | TextDataset, augmentation: Augmentation | None = None) -> Facts:
    """What a network that learns from these data will know of them.

    Args:
        dataset: the data.
        augmentation: of training images of bytes, instead of the data set's own.
    """
    if isinstance(dataset, TextDataset):
        return _of_texts(dataset)
    facts = Facts(classes=dataset.classes, class_names=dataset.class_names, image_shape=dataset.shape)
    if not _of_bytes(dataset.train):
        return facts  # floats are taken as they are: nobody knows how they are normalised
    normalisation = augmentation or dataset.augmentation()
    return replace(facts, mean=normalisation.mean, std=normalisation.std)


def _of_texts(dataset: TextDataset) -> Facts:
    fields = tuple(name for name in dataset.train.example(1) if not prefix_of(name))
    return Facts(
        classes=dataset.classes,
        class_names=dataset.class_names,
        fields=fields,
        tokens=dataset.train.most() or None,
        tokenizer=dataset.tokenizers.get(""),
    )


def fitted_teacher(model: FeatureModel, data: Facts, example: Inputs) -> FeatureModel:
    """The teacher for images that are normalised, and classes that are numbered, otherwise than those it learned from.

    Args:
        model: the teacher; its classifier may be permuted.
        data: of the data of the run.
        example: images [N, channels, height, width], for their shape, or samples of several tensors by name.

    Raises:
        UserError: it learned from images of another size, or from other classes. A teacher with another number of
            classes is left to the losses: those that compare features alone can read it.
    """
    known = models.facts(model)
    if known is None:
        return model
    _check_size(known, data)
    classes = models.describe(model, form_of(example)).classes
    if classes != known.classes or classes != data.classes:
        known = replace(known, class_names=None)  # its classifier has been replaced, or no loss can read its logits
    order = class_order(known, data)
    if order is not None:
        model = with_class_order(model, order, example)
    if known.mean and known.std and data.mean and data.std and (known.mean, known.std) != (data.mean, data.std):
        model = with_normalisation(model, (known.mean, known.std), (data.mean, data.std))
    return model


def fitted_student(model: FeatureModel, data: Facts, example: Inputs) -> FeatureModel:
    """The student with weights that it has learned already, whose classes are numbered as those of the data.

    It goes on learning from images and classes of any kind; only classes of the same names in another order are mapped.

    Args:
        model: the student; its classifier may be permuted.
        data: of the data of the run.
        example: images [N, channels, height, width], for their shape, or samples of several tensors by name.

    Raises:
        UserError: the classes have another order, and the network has no linear classifier that could be permuted.
    """
    known = models.facts(model)
    if known is None or not _same_names(known, data):
        return model
    order = class_order(known, data)
    if order is None:
        return model
    if with_class_order(model, order, example) is not model:
        raise UserError(
            "the weights number the classes in another order than the data, and the network has no linear classifier "
            "whose rows could be permuted: bring the data to their order, "
            f"{_listed(known.class_names or ())}"
        )
    set_facts(model, replace(known, class_names=data.class_names))
    return model


def differences(known: Facts | None, data: Facts) -> Iterator[str]:
    """A sentence for each difference between the data of a run and those that its teacher learned from."""
    if known is None:
        return
    if class_order(known, data) is not None:
        yield "it numbers the classes in another order than the data; they were matched by their names."
    if known.mean is None or known.std is None or (known.mean, known.std) == (data.mean, data.std):
        return
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (known.mean, known.std))
    learned = f"it learned from images with mean {mean} and standard deviation {std}"
    if data.mean is None:
        yield f"{learned}; the images of this run are floats, and were taken as they are."
    else:
        yield f"{learned}, and is given images in that normalisation."


def class_order(known: Facts, data: Facts) -> tuple[int, ...] | None:
    """The place in a network's logits of each class of the data; None where it is the same, or names are missing.

    Raises:
        UserError: the network learned other classes.
    """
    own, wanted = known.named_classes, data.named_classes
    if own is None or wanted is None or own == wanted:
        return None
    places: Mapping[str, int] = {name: place for place, name in enumerate(own)}
    if set(own) != set(wanted) or len(places) != len(own):
        unknown = [name for name in wanted if name not in places]
        raise UserError(
            f"it has learned other classes ({_listed(own)}) than those of the data"
            + (f", which have {_listed(unknown)}" if unknown else " (names occur twice, in another order)")
        )
    return tuple(places[name] for name in wanted)


def _check_size(known: Facts, data: Facts) -> None:
    if (known.image_shape and data.fields) or (known.fields and data.image_shape):
        learned, given = ("images", "texts") if data.fields else ("texts", "images")
        raise UserError(f"it has learned from {learned}, and the data are {given}")
    if known.image_shape is None or data.image_shape is None or known.image_shape == data.image_shape:
        return
    own, given = (f"{height}x{width}" for _, height, width in (known.image_shape, data.image_shape))
    channels, wanted = known.image_shape[0], data.image_shape[0]
    if channels != wanted:
        raise UserError(f"it has learned from images of {channels} channels, these have {wanted}")
    raise UserError(
        f"it has learned from images of {own} pixels, these have {given}: bring them to one size, such as with "
        f"data.source.image_size"
    )


def _same_names(known: Facts, data: Facts) -> bool:
    return set(known.named_classes or ()) == set(data.named_classes or ())


def _of_bytes(split: Split) -> bool:
    return isinstance(split, Images) or read_image(split, 0).dtype == torch.uint8


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown}, ... {len(names)} in all"
