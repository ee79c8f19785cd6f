"""Strided 1x1 convolutions, kept away from a fault in oneDNN."""

import torch.nn.functional as F
from torch import Tensor, nn

NARROW = 16
"""Input channels below which a strided 1x1 convolution is not left to oneDNN on a CPU in channels-last format.

There, oneDNN 3.12 (torch 2.14) writes beyond its buffers in the weight gradient of such a convolution if it has fewer
input channels than a vector register holds: below 8 with AVX2 (measured), below 16 with AVX-512 (reported). The process
then dies, or goes on with damaged memory.
"""


class NarrowProjection(nn.Conv2d):
    """A strided 1x1 convolution of few channels, computed with stride 1 on the positions that the stride selects.

    The values are those of ``nn.Conv2d``; oneDNN's faulty weight gradient (see :data:`NARROW`) is not reached.
    """

    def forward(self, input: Tensor) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight, self.bias)


def projection(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """A 1x1 convolution without bias, for the shortcut of a block that changes the width or the resolution."""
    kind = NarrowProjection if stride > 1 and inputs < NARROW else nn.Conv2d
    return kind(inputs, outputs, kernel_size=1, stride=stride, bias=False)
