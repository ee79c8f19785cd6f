"""The stages among a network's blocks."""

from collections.abc import Hashable, Sequence

_STAGES = 4


def stage_indices(resolutions: Sequence[Hashable]) -> list[int]:
    """The blocks whose outputs are the stages.

    These are the last blocks of each resolution. Where all blocks have the same, as in a vision transformer, they are
    four, evenly spaced, the last block among them; all, where there are fewer.

    Args:
        resolutions: of the blocks, in network order.
    """
    count = len(resolutions)
    if len(set(resolutions)) > 1:
        return [i for i in range(count) if i + 1 == count or resolutions[i] != resolutions[i + 1]]
    if count <= _STAGES:
        return list(range(count))
    return [(2 * count * stage + _STAGES) // (2 * _STAGES) - 1 for stage in range(1, _STAGES + 1)]


def block_names(resolutions: Sequence[Hashable]) -> list[str]:
    """``stage1``, ``stage2``, ... where each block has another resolution than the one before, else ``block1``, ..."""
    distinct = len(set(resolutions)) == len(resolutions)
    return [f"{'stage' if distinct else 'block'}{number}" for number in range(1, len(resolutions) + 1)]
