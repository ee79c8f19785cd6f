"""A run over its stages: what is carried from one into the next, what is saved, and how it goes on after a crash."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from smskd.anchors import catalog as anchors
from smskd.anchors.frozen import Frozen
from smskd.data import Loader, mix
from smskd.engine.average import Average
from smskd.engine.evaluate import Accuracy, evaluate, memory
from smskd.engine.fit import EpochReport, Pace, Track, fit, untracked
from smskd.engine.objective import Objective
from smskd.engine.optim import build_optimizer, carry_state, load_state_tensors, state_tensors
from smskd.engine.stage import Stage, Which
from smskd.engine.store import Checkpoint, RunFolder
from smskd.models import macs, parameters
from smskd.types import DataInfo, FeatureModel

SUMMARY_FORMAT = 1


@dataclass(frozen=True)
class Setup:
    """All that a run needs.

    Attributes:
        name: of the run. student_name, teacher_name: of the models, for the summary.
        student: the model to train, on its device. teacher: to learn from, or None.
        stages, pace: what is done when, and how fast.
        train, test: the loaders. data: what the methods may know of the training data.
        example: a picture [1, channels, height, width], for the shapes of the features.
        pictures: facts of the data for the summary.
        student_metadata: goes into the files of the student's weights, so that they can be loaded alone.
    """

    name: str
    student_name: str
    student: FeatureModel
    teacher_name: str | None
    teacher: FeatureModel | None
    stages: tuple[Stage, ...]
    pace: Pace
    train: Loader
    test: Loader
    data: DataInfo
    example: Tensor
    pictures: dict[str, Any]
    student_metadata: dict[str, str] = field(default_factory=dict)
    checkpoint_every: int = 1


@dataclass
class Ledger:
    """What a run remembers beside tensors; saved with every checkpoint.

    Attributes:
        epoch: the last that is done. stage: counted from 0.
        seconds: spent so far. best_top1: over the whole run. stage_best: the stage's best accuracy, if any yet.
        top1, top5: of the last epoch.
        stages: the summaries of the stages that are over.
    """

    epoch: int = 0
    stage: int = 0
    seconds: float = 0.0
    best_top1: float = 0.0
    stage_best: float | None = None
    top1: float = 0.0
    top5: float | None = None
    average_steps: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)


class _Trainee:
    """The student on its way, and everything that is saved with it."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.objective = Objective(setup.student, setup.teacher, example=setup.example, data=setup.data)
        self.optimizer: torch.optim.Optimizer | None = None
        self.average: Average | None = None
        self.best: dict[str, Tensor] = {}
        self.reference: Frozen | None = None
        self.correct: Tensor | None = None
        self.known: Tensor | None = None

    def enter(self, stage: Stage, index: int) -> torch.optim.Optimizer:
        """Begins a stage: new methods, and what they train joins the optimizer."""
        setup = self.setup
        torch.manual_seed(mix(setup.pace.seed, 0, index))
        self.objective.begin_stage(
            stage.methods, class_weight=stage.class_weight, anchor=stage.anchor, reference=self.reference
        )
        optimizer = build_optimizer(setup.pace.optimizer, self.objective.trainable())
        if self.optimizer is not None and stage.optimizer == "keep":
            carry_state(self.optimizer, optimizer)
        self.optimizer = optimizer
        student = self.objective.student
        self.average = Average(student, stage.average_decay) if stage.keeps("average") else None
        self.best = {}
        return optimizer

    def leave(self, stage: Stage, index: int, test: Loader, ledger: Ledger) -> Accuracy:
        """Ends a stage: freezes the reference, puts what is carried into the student, and says how good that is."""
        final = index == len(self.setup.stages) - 1
        last = _copied(self.objective.student.state_dict())
        if not final:
            self._put(stage.reference, last)
            self.reference = Frozen(self.objective.student)
        self._put(stage.carry, last)
        if stage.carry == "last" and self.correct is not None:
            carried = Accuracy(ledger.top1, ledger.top5, self.correct)
        else:
            carried = evaluate(self.objective.student, test.epoch(0), classes=self.setup.data.classes)
        change = asdict(memory(self.known, carried.correct)) if self.known is not None else _NO_CHANGE
        ledger.stages.append(
            {
                "index": index + 1,
                "methods": list(stage.names),
                "epochs": [stage.first, stage.last],
                "anchor": _anchor_name(self.objective),
                "top1_last": ledger.top1,
                "top1_best": ledger.stage_best,
                "top1_carried": carried.top1,
                **change,
            }
        )
        self.known = carried.correct
        return carried

    def observe(self, report: EpochReport, stage: Stage, ledger: Ledger) -> None:
        """Takes note of an epoch that is done."""
        self.correct = report.test.correct
        ledger.epoch = report.epoch
        ledger.seconds += report.seconds
        ledger.top1, ledger.top5 = report.test_top1, report.test_top5
        ledger.best_top1 = max(ledger.best_top1, report.test_top1)
        ledger.average_steps = self.average.steps if self.average else 0
        if ledger.stage_best is None or report.test_top1 > ledger.stage_best:
            ledger.stage_best = report.test_top1
            if stage.keeps("best"):
                self.best = _copied(self.objective.student.state_dict())

    def saved(self, ledger: Ledger) -> Checkpoint:
        """Everything that the rest of the run depends on."""
        assert self.optimizer is not None
        parts: dict[str, dict[str, Tensor]] = {
            "student": self.objective.student.state_dict(),
            "methods": self.objective.states.state_dict(),
            "optimizer": state_tensors(self.optimizer),
            "best": self.best,
            "average": self.average.tensors if self.average else {},
            "reference": self.reference.model.state_dict() if self.reference else {},
            "test": {
                name: value.to(torch.uint8)
                for name, value in (("correct", self.correct), ("known", self.known))
                if value is not None
            },
        }
        tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        return Checkpoint(tensors, asdict(ledger))

    def restore(self, checkpoint: Checkpoint, ledger: Ledger) -> None:
        """Puts back what :meth:`saved` gave, within the stage that it was saved in."""
        student, stage = self.objective.student, self.setup.stages[ledger.stage]
        reference = checkpoint.part("reference")
        if reference:
            student.load_state_dict(reference)
            self.reference = Frozen(student)
        optimizer = self.enter(stage, ledger.stage)
        student.load_state_dict(checkpoint.part("student"))
        self.objective.states.load_state_dict(checkpoint.part("methods"))
        load_state_tensors(optimizer, checkpoint.part("optimizer"))
        device = self.setup.example.device
        self.best = {name: value.to(device) for name, value in checkpoint.part("best").items()}
        if self.average is not None:
            self.average.load(checkpoint.part("average"), ledger.average_steps)
        test = checkpoint.part("test")
        self.correct = test["correct"].bool() if "correct" in test else None
        self.known = test["known"].bool() if "known" in test else None

    def _put(self, which: Which, last: dict[str, Tensor]) -> None:
        if which == "average" and self.average is not None:
            self.objective.student.load_state_dict(self.average.tensors)
        else:
            self.objective.student.load_state_dict(self.best if which == "best" else last)


_NO_CHANGE = {"retained": None, "forgotten": None, "learned": None, "never_known": None}


def run(setup: Setup, folder: RunFolder, *, track: Track = untracked) -> Iterator[EpochReport]:
    """Trains the stages that are left, and yields a report after each epoch; the summary is in the folder at the end.

    Killed at any moment, it goes on from the last checkpoint as if it had never been: everything random follows from
    the seed and the epoch.
    """
    checkpoint = folder.load_checkpoint()
    ledger = Ledger(**checkpoint.values) if checkpoint else Ledger()
    folder.forget_after(ledger.epoch)
    trainee = _Trainee(setup)
    if checkpoint is not None:
        trainee.restore(checkpoint, ledger)
    carried = None
    for index in range(ledger.stage, len(setup.stages)):
        stage = setup.stages[index]
        resumed = checkpoint is not None and index == ledger.stage
        optimizer = trainee.optimizer if resumed else None
        if optimizer is None:
            optimizer = trainee.enter(stage, index)
            ledger.stage, ledger.stage_best = index, None
        for report in fit(
            trainee.objective,
            optimizer,
            setup.train,
            setup.test,
            stage=stage,
            number=index + 1,
            first=max(stage.first, ledger.epoch + 1),
            pace=setup.pace,
            average=trainee.average,
            track=track,
        ):
            trainee.observe(report, stage, ledger)
            folder.append_metrics(report.as_dict())
            if report.epoch % setup.checkpoint_every == 0 or report.epoch == stage.last:
                folder.save_checkpoint(trainee.saved(ledger))
            yield report
        carried = trainee.leave(stage, index, setup.test, ledger)
        folder.save_student(trainee.objective.student.wrapped, setup.student_metadata, index + 1)
    assert carried is not None
    _finish(setup, folder, trainee, ledger, carried)


def _finish(setup: Setup, folder: RunFolder, trainee: _Trainee, ledger: Ledger, carried: Accuracy) -> None:
    student = trainee.objective.student
    folder.save_student(student.wrapped, setup.student_metadata)
    summary = {
        "format": SUMMARY_FORMAT,
        "name": setup.name,
        "seed": setup.pace.seed,
        "seconds": round(ledger.seconds, 1),
        "epochs": ledger.epoch,
        "data": setup.pictures,
        "student": {
            **_cost(setup.student_name, student, setup.example),
            "top1_last": ledger.top1,
            "top1_best": ledger.best_top1,
            "top5_last": ledger.top5,
            "top1": carried.top1,
            "top5": carried.top5,
        },
        "teacher": _teacher(setup, trainee),
        "stages": ledger.stages,
    }
    folder.save_summary(summary)


def _teacher(setup: Setup, trainee: _Trainee) -> dict[str, Any] | None:
    frozen = trainee.objective.teacher
    if frozen is None or setup.teacher_name is None:
        return None
    accuracy = evaluate(frozen, setup.test.epoch(0), classes=setup.data.classes)
    cost = _cost(setup.teacher_name, frozen.model, setup.example)
    return {**cost, "top1_last": accuracy.top1, "top5_last": accuracy.top5}


def _cost(name: str, model: FeatureModel, example: Tensor) -> dict[str, Any]:
    _, channels, height, width = example.shape
    shape = (int(channels), int(height), int(width))
    return {"model": name, "parameters": parameters(model.wrapped), "macs": macs(model.wrapped, shape)}


def _anchor_name(objective: Objective) -> str | None:
    return anchors.name_of(objective.anchor) if objective.anchor and objective.reference else None


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
