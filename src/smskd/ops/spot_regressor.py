"""A layer from a feature of one network to the shape of another's, in both directions."""

from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import Shape
from smskd.ops.layers import ConvRegressor, LenientBatchNorm2d


class MapRegressor(ConvRegressor):
    """A convolution from one map to the shape of another, then batch norm, then ReLU.

    As :class:`~smskd.ops.layers.ConvRegressor`, except where the map is smaller by another factor than two: there it
    has a transposed convolution of stride f = floor(target / source) and kernel target - f * (source - 1) (ConvReg of
    zju-vipa/spot-adaptive-pytorch), which that of HobbitLong/RepDistiller lacks.

    Args:
        source: (channels, height, width) of the map that is given.
        target: (channels, height, width) of the output.

    Raises:
        UserError: one of the shapes is not that of a map.
    """

    def __init__(self, source: Shape, target: Shape) -> None:
        super().__init__(source, target)
        if not isinstance(self.conv, nn.Conv2d | nn.ConvTranspose2d):  # the map is smaller by another factor than two
            self.conv = _enlarging(source, target)
        self.bn = LenientBatchNorm2d(target[0])


def _enlarging(source: Shape, target: Shape) -> nn.Module:
    (channels, height, width), (wanted, target_height, target_width) = source, target
    if height > target_height or width > target_width:
        raise UserError(
            f"no convolution leads from a map of {height}x{width} to one of {target_height}x{target_width}: one side "
            "is larger and one smaller"
        )
    stride = target_height // height, target_width // width
    kernel = target_height - stride[0] * (height - 1), target_width - stride[1] * (width - 1)
    return nn.ConvTranspose2d(channels, wanted, kernel, stride=stride)


class VectorRegressor(nn.Module):
    """A linear layer from one vector to the width of another.

    Args:
        source: width of the vector that is given.
        target: width of the output.
    """

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.net = nn.Linear(source, target)

    def forward(self, x: Tensor) -> Tensor:
        """[N, source] to [N, target]."""
        y: Tensor = self.net(x)
        return y


def spot_regressor(source: Shape, target: Shape) -> nn.Module:
    """The layer from a feature of one network to the shape of another's.

    Args:
        source: (channels, height, width) of a map, or (width,) of a vector.
        target: likewise, of the same kind.

    Raises:
        UserError: the two are neither both maps nor both vectors.
    """
    if len(source) == len(target) == 1:
        return VectorRegressor(source[0], target[0])
    if len(source) == len(target) == 3:
        return MapRegressor(source, target)
    raise UserError(f"features of {list(source)} and {list(target)} are neither two maps nor two vectors")
