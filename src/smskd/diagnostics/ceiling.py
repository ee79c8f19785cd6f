"""The capacity ceiling: the stage beyond which a student gains nothing beyond the noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from smskd.analysis.format import percent
from smskd.analysis.significance import holm, t_test

LEVEL = 0.05


@dataclass(frozen=True)
class CeilingPoint:
    """The student after some stages.

    Attributes:
        stages: how many.
        methods: of the last of them.
        train_top1, test_top1: accuracy in percent, without augmentation; mean over the seeds.
        judged_top1: likewise on the part that the ceiling is judged by.
        train_agreement: percent of the training images for which student and teacher predict the same class; None
            without a teacher of the same classes.
        seeds: of the runs.
    """

    stages: int
    methods: tuple[str, ...]
    train_top1: float
    test_top1: float
    judged_top1: float
    train_agreement: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Ceiling:
    """Accuracy over the number of stages.

    Attributes:
        over: ``stages`` of one run, or ``runs`` with different numbers of stages.
        part: that it is judged by: ``validation``, or ``test`` where there is no validation split.
        noise: what the gains are compared with: the randomness of ``images`` (McNemar's exact test) or of ``seeds``
            (paired t test), each corrected by Holm's method; None: nothing, of a single seed.
        points: by the number of stages, ascending; at least two.
        stages: the fewest stages over which no larger number gains anything beyond the noise; the greatest number
            where the last stage still gains. None where the noise is not known.
    """

    over: Literal["stages", "runs"]
    part: str
    noise: Literal["images", "seeds"] | None
    points: tuple[CeilingPoint, ...]
    stages: int | None

    @property
    def sentence(self) -> str:
        """What it means, in a sentence."""
        last = self.points[-1]
        if self.stages is None:
            return "Capacity: a single seed does not tell the noise; train each number of stages with several seeds."
        if self.stages == last.stages:
            return (
                f"Capacity: no ceiling within {last.stages} stages; the last one still gains beyond the noise of "
                f"{self.noise} ({self.part} top-1 {percent(last.judged_top1)} %)."
            )
        at = next(point for point in self.points if point.stages == self.stages)
        more = f"from {percent(at.train_top1)} to {percent(last.train_top1)} %"
        agreement = (
            ""
            if at.train_agreement is None or last.train_agreement is None
            else f", agreement with the teacher on training images from {percent(at.train_agreement)} to "
            f"{percent(last.train_agreement)} %"
        )
        return (
            f"Capacity: nothing is gained beyond stage {self.stages}, beyond the noise of {self.noise} ({self.part} "
            f"top-1 {percent(at.judged_top1)} %, after stage {last.stages} {percent(last.judged_top1)} %); training "
            f"top-1 goes {more}{agreement}."
        )


def fewest_sufficient(p_of_gain: Sequence[Sequence[float | None]]) -> int:
    """The position of the first of several numbers of stages over which no later one gains beyond the noise.

    Args:
        p_of_gain: for each position, for each later one, the two-sided p value of its gain where that is positive; None
            where nothing is gained. They are corrected here for the number of later ones.
    """
    for place, values in enumerate(p_of_gain):
        if not any(p is not None and p < LEVEL for p in holm(list(values))):
            return place
    raise ValueError("the last position has no later one")


def ceiling_of_seeds(part: str, points: Sequence[CeilingPoint], values: Sequence[Sequence[float]]) -> Ceiling:
    """The ceiling over runs, from accuracies that are paired over seeds.

    Args:
        part: by which it is judged.
        points: by the number of stages, ascending.
        values: for each of them, the accuracies on that part of the seeds, in the same order.
    """
    if len(values[0]) < 2:
        return Ceiling("runs", part, None, tuple(points), None)
    gains = [[_p_of_gain(later, own) for later in values[place + 1 :]] for place, own in enumerate(values)]
    return Ceiling("runs", part, "seeds", tuple(points), points[fewest_sufficient(gains)].stages)


def _p_of_gain(later: Sequence[float], own: Sequence[float]) -> float | None:
    differences = [after - before for after, before in zip(later, own, strict=True)]
    if fmean(differences) <= 0:
        return None
    if max(differences) == min(differences):
        return 0.0
    return t_test(differences)
