"""Shapes of a model's features, and the numbers of its parameters and multiply-accumulates, from a dry run."""

import math
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, FeatureLayout, FeatureModel
from smskd.interfaces.inputs import InputForm
from smskd.models.calling import called
from smskd.models.dry_run import blank_inputs, preserve_state
from smskd.models.image_errors import as_user_error

_IMAGES = 2


def describe(model: FeatureModel, image_shape: InputForm) -> FeatureLayout:
    """The shape of each feature of one sample, and the number of classes.

    The model is run once on two black images, or two samples of the example, in eval mode, on the device of its
    weights and without gradients. It is left as it was: modes, buffers and random state are restored.

    Args:
        model: the model.
        image_shape: channels, height and width of images, or an example of several tensors by name.

    Returns:
        The layout; its features are in network order.

    Raises:
        UserError: the model does not accept such inputs, or its output is not [N, classes].
    """
    names = model.feature_names
    with preserve_state(model), as_user_error(model, image_shape):
        tensors = model.extract(blank_inputs(model, image_shape, _IMAGES), (*names, LOGITS))
    return FeatureLayout(
        features={name: tuple(tensors[name].shape[1:]) for name in names},
        classes=_classes(tensors[LOGITS]),
        preactivations=model.preactivation_names,
        roles=model.roles,
    )


def _classes(logits: Tensor) -> int:
    shape = tuple(logits.shape)
    if len(shape) != 2 or shape[0] != _IMAGES:
        raise UserError(
            f"the model's output for {_IMAGES} images has the shape {list(shape)};"
            f" that of a classifier has [{_IMAGES}, classes]"
        )
    return shape[1]


def parameters(model: nn.Module) -> int:
    """The number of parameters. A shared parameter counts once; buffers do not count.

    Args:
        model: any network.
    """
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image_shape: InputForm) -> int:
    """The number of multiply-accumulate operations of convolutions and linear layers for one sample.

    Biases, batch norms, activations, pooling and products of activations (attention) are not counted. The model is run
    once on a black image, or a sample of the example, and left as it was.

    Args:
        model: any network that accepts such inputs.
        image_shape: channels, height and width of an image, or an example of several tensors by name.

    Raises:
        UserError: the model does not accept such inputs.
    """
    counts: list[int] = []
    layers = [module for module in model.modules() if isinstance(module, _ConvNd | nn.Linear)]
    handles = [layer.register_forward_hook(partial(_count, counts)) for layer in layers]
    try:
        with preserve_state(model), as_user_error(model, image_shape):
            called(model, model, blank_inputs(model, image_shape, count=1))
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)


def _count(counts: list[int], layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if isinstance(layer, nn.Linear):
        counts.append(output.numel() * layer.in_features)
    elif isinstance(layer, _ConvTransposeNd):
        counts.append(inputs[0].numel() * layer.weight[0].numel())
    elif isinstance(layer, _ConvNd):
        counts.append(output.numel() * math.prod(layer.weight.shape[1:]))
