"""The weights that the published models of the zoo start from."""

from torch import nn


def init_convolutions(model: nn.Module) -> None:
    """He et al.'s normal distribution: deviation sqrt(2 / (kernel height * width * output channels)).

    Biases start at zero. Batch norms already start as the identity.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_small_linear(layer: nn.Linear) -> None:
    """A normal distribution of deviation 0.01 and no bias."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
