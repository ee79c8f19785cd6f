"""The difference of two recipes, seed by seed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PairedDifference:
    """The difference in top-1 accuracy between two recipes, seed by seed, in percentage points.

    The runs of a pair share the seed, the teacher, the training images and the test images. The intervals cover the
    randomness of training alone (initialization, order and augmentation of the images): they hold for these images, and
    are not corrected for the number of comparisons.

    Attributes:
        name: label of the recipe.
        baseline: label of the recipe that is subtracted.
        seeds: that both recipes were trained with, in ascending order.
        values: the difference of each pair, in the order of the seeds.
        mean: of the values.
        half_width: of the 95 % confidence interval around the mean, by Student's t distribution; None for one pair.
        interval: lower and upper end of the 95 % bootstrap interval; None for one pair, or where it was not computed.
        p: of a paired t test, two-sided; None for one pair, or where all values are equal.
        corrected_p: ``p`` corrected for the number of differences in the comparison, by Holm's method.
    """

    name: str
    baseline: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    half_width: float | None
    interval: tuple[float, float] | None = None
    p: float | None = None
    corrected_p: float | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below zero, 0 where it contains zero or does not exist."""
        if self.half_width is None or abs(self.mean) <= self.half_width:
            return 0
        return 1 if self.mean > 0 else -1
