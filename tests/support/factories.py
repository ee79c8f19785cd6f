"""Factories of networks that are named in files of weights."""

from torch import nn

from tests.support.own_data import network


def narrow(slope: float, pretrained: bool = False) -> nn.Module:
    """A network with an activation that has an option and no weights."""
    made = network(2, seed=7)
    made[2] = nn.LeakyReLU(slope)
    return made
