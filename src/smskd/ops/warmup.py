"""The linear warm-up of a loss."""

from smskd.interfaces.batch import Progress


def warmup_factor(progress: Progress, epochs: int) -> float:
    """min(e / E, 1) in epoch e of the stage, counted from 1, for a warm-up of E epochs.

    Args:
        progress: of the batch.
        epochs: E, 1 or more; 1: the factor is always 1.
    """
    return min(progress.epoch / epochs, 1.0)
