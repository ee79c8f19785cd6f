"""The last layer of a network as a linear layer, whichever kind of layer it is."""

from torch import nn


def as_linear(layer: object) -> nn.Linear | None:
    """A linear layer as it is; a 1x1 convolution as a linear layer that shares its weights; None for all others.

    On a map the convolution, followed by the mean over the places, is that linear layer on the mean of the map.

    Args:
        layer: the last layer of a network.
    """
    if isinstance(layer, nn.Linear):
        return layer
    if not isinstance(layer, nn.Conv2d) or not _is_pointwise(layer):
        return None
    linear = nn.Linear(layer.in_channels, layer.out_channels, bias=layer.bias is not None, device="meta")
    linear.weight = nn.Parameter(layer.weight.detach().flatten(1), layer.weight.requires_grad)
    if layer.bias is not None:
        linear.bias = nn.Parameter(layer.bias.detach(), layer.bias.requires_grad)
    return linear.train(layer.training)


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return (
        type(layer).forward is nn.Conv2d.forward
        and layer.kernel_size == (1, 1)
        and layer.stride == (1, 1)
        and layer.padding in ((0, 0), 0, "valid", "same")
        and layer.groups == 1
    )
