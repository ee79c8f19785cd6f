"""Which features a model offers for pictures of a size, found by running it once."""

from torch import Tensor

from smskd.errors import UserError
from smskd.models.dry_run import blank_pictures, refusing, undisturbed
from smskd.types import LOGITS, FeatureModel, Layout

_PICTURES = 2


def describe(model: FeatureModel, image_shape: tuple[int, int, int]) -> Layout:
    """The shape of each feature of one picture, and the number of classes.

    The model is run on two black pictures, where its weights are, in eval mode and without gradients. Its
    modes and buffers are left as they were.

    Args:
        model: the model.
        image_shape: channels, height and width of the pictures.

    Returns:
        The layout; its features are in network order.

    Raises:
        UserError: the model takes no such pictures, or its output is not [pictures, classes].
    """
    names = model.feature_names
    with undisturbed(model), refusing(image_shape):
        tensors = model.extract(blank_pictures(model, image_shape, _PICTURES), (*names, LOGITS))
    return Layout(
        features={name: tuple(tensors[name].shape[1:]) for name in names},
        classes=_classes(tensors[LOGITS]),
        preactivations=model.preactivation_names,
    )


def _classes(logits: Tensor) -> int:
    shape = tuple(logits.shape)
    if len(shape) != 2 or shape[0] != _PICTURES:
        raise UserError(
            f"the model's output for {_PICTURES} pictures has the shape {list(shape)};"
            f" a classifier's is [{_PICTURES}, classes]"
        )
    return shape[1]
