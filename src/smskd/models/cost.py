"""What a model costs: its parameters, and the multiply-accumulates of one picture."""

import math
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from smskd.models.dry_run import blank_pictures, refusing, undisturbed


def parameters(model: nn.Module) -> int:
    """The number of parameters, shared ones counted once, buffers not at all."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """The multiply-accumulates of the convolutions and linear layers for one picture.

    Biases, batch norms, activations, pooling and products of activations (attention) are not counted. The
    model is run once on a black picture and left as it was.

    Args:
        model: any network that takes pictures [N, channels, height, width].
        image_shape: channels, height and width of the picture.

    Raises:
        UserError: the model takes no such pictures.
    """
    counts: list[int] = []
    layers = [module for module in model.modules() if isinstance(module, _ConvNd | nn.Linear)]
    handles = [layer.register_forward_hook(partial(_count, counts)) for layer in layers]
    try:
        with undisturbed(model), refusing(image_shape):
            model(blank_pictures(model, image_shape, count=1))
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
