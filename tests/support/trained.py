"""Networks with fresh weights that behave like trained ones."""

import torch
from torch import nn

_PASSES = 3


@torch.no_grad()
def as_if_trained(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """Replaces weights that are all zero, and gives batch norms the statistics of images; returns the network.

    In eval mode the activations of a deep fresh network vanish, and some libraries begin with last layers of zeros, so
    that losses would not depend on the images.

    Args:
        model: changed in place; it is in train mode afterwards.
        images: [N, channels, height, width], at least two.
    """
    for name, weight in model.named_parameters():
        if not bool(weight.any()):
            if weight.ndim > 1:
                nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
            elif name.endswith("weight"):
                nn.init.ones_(weight)
    model.train()
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        for _ in range(_PASSES):
            model(images)
    return model
