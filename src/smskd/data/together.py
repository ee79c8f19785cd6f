"""How many batches a GPU is given at once, where one need not wait for the one before.

A GPU is busy only with many pictures, and it takes the CPU some time to tell it of each operation. The student has to
take its batches one after another; making them, and looking at them with frozen networks, need not.
"""

from collections.abc import Sequence

import torch

VALUES = {"cuda": 1024 * 3 * 32 * 32}
"""Numbers in the pictures of all batches at once, by type of device; elsewhere every batch is taken alone."""


def batches_together(device: torch.device, batch_size: int, shape: Sequence[int]) -> int:
    """How many batches are taken at once.

    Args:
        device: where they are.
        batch_size: pictures in a batch.
        shape: of a picture, (channels, height, width).
    """
    values = batch_size * max(1, int(torch.Size(shape).numel()))
    return max(1, VALUES.get(device.type, 0) // values)
