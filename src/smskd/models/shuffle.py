"""The channel shuffle of the ShuffleNets (Zhang et al. 2018, arXiv 1707.01083, section 3.1)."""

from torch import Tensor


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Deal the channels [N, C, H, W] out: the first of each group, then the second of each, and so on."""
    if groups == 1:
        return x
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)
