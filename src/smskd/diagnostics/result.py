"""The result of an analysis."""

from collections.abc import Mapping
from dataclasses import dataclass

from smskd.diagnostics.agreement import Agreement
from smskd.diagnostics.calibration import Calibration
from smskd.diagnostics.ceiling import Ceiling
from smskd.diagnostics.confidence import Distribution
from smskd.diagnostics.cost import RunCost
from smskd.diagnostics.gradients import GradientConflict
from smskd.diagnostics.transfer import Transfer


@dataclass(frozen=True)
class PartAnalysis:
    """The student at the end of a stage, on a part of the data.

    Attributes:
        images: number of images.
        top1: accuracy in percent.
        calibration: negative log-likelihood, expected calibration error, reliability curve.
        agreement: with the teacher; None without one, or where its classes are not those of the data.
        transfer: from the end of the previous stage; None in the first stage.
        tcp: true class probability of the student itself, which weights the reference loss of the next stage.
    """

    images: int
    top1: float
    calibration: Calibration
    agreement: Agreement | None
    transfer: Transfer | None
    tcp: Distribution


@dataclass(frozen=True)
class StageAnalysis:
    """A stage.

    Attributes:
        stage: its number, from 1.
        methods: distilled in it.
        parts: ``train`` (without augmentation), ``validation`` where there is one, and ``test``.
        cka_previous: linear CKA of each feature with that of the student at the end of the previous stage, on test
            images; empty in the first stage.
        cka_teacher: likewise with each feature of the teacher, by the student's feature and the teacher's.
        negative_transfer: whether the student at the end is worse than at the start beyond the noise, on the validation
            split, or on the test images where there is none; None in the first stage.
        conflict: between the gradients of the parts of the stage's objective at its end; None where it was not asked
            for.
    """

    stage: int
    methods: tuple[str, ...]
    parts: Mapping[str, PartAnalysis]
    cka_previous: Mapping[str, float]
    cka_teacher: Mapping[str, Mapping[str, float]]
    negative_transfer: bool | None
    conflict: GradientConflict | None = None


@dataclass(frozen=True)
class RunAnalysis:
    """A finished run.

    Attributes:
        run: path of its folder.
        name: of the recipe.
        seed: of training.
        teacher_top1: accuracy of the teacher in percent by part; empty without one.
        teacher_tcp: true class probability of the teacher by part; empty without one.
        stages: first to last.
        ceiling: the stage beyond which nothing is gained; None with a single stage.
        cost: as it was measured when the run was trained; :func:`analyse` always gives it.
    """

    run: str
    name: str
    seed: int
    teacher_top1: Mapping[str, float]
    teacher_tcp: Mapping[str, Distribution]
    stages: tuple[StageAnalysis, ...]
    ceiling: Ceiling | None = None
    cost: RunCost | None = None
