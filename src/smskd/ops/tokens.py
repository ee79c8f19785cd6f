"""Hidden states of sequences of tokens, without the padding behind shorter sequences."""

import torch
from torch import Tensor


def without_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """The hidden states with zeros in place of padding, which gets no gradient.

    Args:
        x: [N, L, C].
        mask: bool [N, L], where there is a token; None: everywhere.
    """
    return x if mask is None else x.masked_fill(~mask[:, :, None], 0.0)


def token_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of each sample over its tokens and all that belongs to them, [N].

    Args:
        values: [N, L] or [N, L, C].
        mask: bool [N, L], where there is a token; None: everywhere.
    """
    values = values.flatten(2).mean(dim=2) if values.ndim > 2 else values
    if mask is None:
        return values.mean(dim=1)
    return torch.where(mask, values, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def as_map(x: Tensor, mask: Tensor | None) -> Tensor:
    """The hidden states [N, L, C] as a map [N, C, L, 1], zero where there is padding."""
    return without_padding(x, mask).transpose(1, 2).unsqueeze(3)
