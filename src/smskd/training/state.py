"""The student on its way through the stages, and everything that is saved with it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from smskd.config.stage import Stage, Which
from smskd.data import Loader, mix
from smskd.interfaces.features import FeatureModel
from smskd.models import load_weights
from smskd.models.frozen import Frozen
from smskd.objective.student_head import StudentWithHead
from smskd.objective.weighted_sum import Objective
from smskd.registry import ANCHORS
from smskd.runs.folder import Checkpoint, RunFolder
from smskd.teacher_cache import TeacherCache, cacheable, key_of
from smskd.training.accuracy import Accuracy, evaluate, memory
from smskd.training.compute_policy import choose_compiled
from smskd.training.config import RunConfig
from smskd.training.ema import ExponentialMovingAverage
from smskd.training.epoch import EpochReport
from smskd.training.host import forget_peak, peak_memory
from smskd.training.optimizer import build_optimizer, carry_state, load_state_tensors, state_tensors
from smskd.training.pretraining import Phase
from smskd.training.step import Step


@dataclass
class Counters:
    """What a run remembers beside tensors; saved with every checkpoint.

    Attributes:
        epoch: the last that is done. stage: counted from 0.
        seconds: spent so far. best_top1: over the whole run. stage_best: the stage's best accuracy, if any yet.
        top1, top5: of the last epoch.
        prepared: epochs done of the phases before the stage. preparations: of all such phases so far.
        scaler: of float16 gradients.
        cost: of the stage's steps, once they have been timed.
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
    pretrained: int = 0
    pretraining_epochs: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)

    def enter(self, stage: int) -> None:
        """A stage begins."""
        self.stage, self.stage_best, self.pretrained, self.average_steps, self.cost = stage, None, 0, 0, None


_NO_CHANGE = {"retained": None, "forgotten": None, "learned": None, "never_known": None}


class TrainingState:
    """The student on its way, and everything that is saved with it."""

    def __init__(self, setup: RunConfig) -> None:
        self.setup = setup
        self.objective = Objective(setup.student, setup.teacher, example=setup.example, data=setup.data)
        self.step: Step | None = None
        self.average: ExponentialMovingAverage | None = None
        self.best: dict[str, Tensor] = {}
        self.reference: Frozen | None = None
        self.correct: Tensor | None = None
        self.known: Tensor | None = None
        self.phases: list[Phase] = []

    @property
    def student(self) -> FeatureModel:
        """What predicts: the student, with the layers of a method that transforms it."""
        return self.objective.predictor

    @property
    def metadata(self) -> dict[str, str]:
        """What goes into the file of the student's weights, so that it can be loaded alone."""
        layers: list[str] = []
        model = self.student
        while isinstance(model, StudentWithHead):
            layers.insert(0, model.description())
            model = model.backbone
        return {**self.setup.student_metadata, **({"transformed": json.dumps(layers)} if layers else {})}

    def enter(self, stage: Stage, index: int) -> Step:
        """Begins a stage: new methods, and what they train joins the optimizer."""
        setup = self.setup
        if self.objective.cache is None:
            self.objective.cache = self._cache()
        torch.manual_seed(mix(setup.pace.seed, 0, index))
        self.objective.begin_stage(
            stage.methods, ce_weight=stage.ce_weight, anchor=stage.anchor, reference=self.reference
        )
        epochs = stage.last - stage.first + 1
        choose_compiled(self.objective, setup.compute, pictures=epochs * setup.data.samples)
        optimizer = build_optimizer(setup.pace.optimizer, self.objective.trainable())
        if self.step is not None and stage.optimizer == "keep":
            carry_state(self.step.optimizer, optimizer)
        self.step = Step(self.objective, optimizer, setup.compute)
        self.phases = list(self._phases(index))
        self.average = ExponentialMovingAverage(self.student, stage.ema_decay) if stage.keeps("average") else None
        self.best = {}
        forget_peak(self.step.device)
        return self.step

    def leave(self, stage: Stage, index: int, test: Loader, ledger: Counters) -> Accuracy:
        """Ends a stage: freezes the reference, puts what is carried into the student, and says how good that is."""
        final = index == len(self.setup.stages) - 1
        last = _copied(self.student.state_dict())
        if not final:
            self._put(stage.reference, last)
            self.reference = self.objective.frozen()
        self._put(stage.carry, last)
        if stage.carry == "last" and self.correct is not None:
            carried = Accuracy(ledger.top1, ledger.top5, self.correct)
        else:
            carried = evaluate(self.student, test.epoch(0), classes=self.setup.data.classes)
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
                "cost": ledger.cost,
            }
        )
        self.known = carried.correct
        return carried

    def observe(self, report: EpochReport, stage: Stage, ledger: Counters) -> None:
        """Takes note of an epoch that is done."""
        self.correct = report.test.correct
        ledger.epoch = report.epoch
        ledger.seconds += report.seconds
        ledger.top1, ledger.top5 = report.test_top1, report.test_top5
        ledger.best_top1 = max(ledger.best_top1, report.test_top1)
        ledger.average_steps = self.average.steps if self.average else 0
        if report.epoch == stage.first:
            ledger.cost = self._cost()
        if ledger.stage_best is None or report.test_top1 > ledger.stage_best:
            ledger.stage_best = report.test_top1
            if stage.keeps("best"):
                self.best = _copied(self.student.state_dict())

    def saved(self, ledger: Counters) -> Checkpoint:
        """Everything that the rest of the run depends on."""
        assert self.step is not None
        ledger.scaler = self.step.state()
        parts: dict[str, dict[str, Tensor]] = {
            "student": self.student.state_dict(),
            "methods": self.objective.states.state_dict(),
            "optimizer": state_tensors(self.step.optimizer),
            **{
                f"phase{number}": state_tensors(phase.optimizer)
                for number, phase in enumerate(self.phases)
                if phase.optimizer is not None
            },
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

    def restore(self, checkpoint: Checkpoint, ledger: Counters) -> None:
        """Puts back what :meth:`saved` gave, within the stage that it was saved in."""
        stages = self.setup.stages
        for stage in stages[: ledger.stage]:
            if stage.replaces_head:
                self.objective.begin_stage(stage.methods)
        reference = checkpoint.part("reference")
        if reference:
            self.student.load_state_dict(reference)
            self.reference = self.objective.frozen()
        step = self.enter(stages[ledger.stage], ledger.stage)
        step.load_state(ledger.scaler)
        self.student.load_state_dict(checkpoint.part("student"))
        self.objective.states.load_state_dict(checkpoint.part("methods"))
        load_state_tensors(step.optimizer, checkpoint.part("optimizer"))
        for number, phase in enumerate(self.phases):
            if phase.optimizer is not None:
                load_state_tensors(phase.optimizer, checkpoint.part(f"phase{number}"))
        device = self.setup.example.device
        self.best = {name: value.to(device) for name, value in checkpoint.part("best").items()}
        if self.average is not None:
            self.average.load(checkpoint.part("average"), ledger.average_steps)
        test = checkpoint.part("test")
        self.correct = test["correct"].bool() if "correct" in test else None
        self.known = test["known"].bool() if "known" in test else None

    def load_result(self, folder: RunFolder) -> FeatureModel:
        """The result of a run that is finished."""
        for stage in self.setup.stages:
            if stage.replaces_head:
                self.objective.begin_stage(stage.methods)
        load_weights(self.student, folder.path)
        return self.student

    def _cost(self) -> dict[str, Any] | None:
        assert self.step is not None
        cost = self.step.clock.cost()
        if cost is None:
            return None
        objective = self.objective
        networks = {
            "student": objective.compiled,
            "teacher": objective.teacher,
            "reference": objective.reference,
        }
        return {
            **asdict(cost),
            "peak_memory_bytes": peak_memory(self.step.device),
            "compiled": [name for name, network in networks.items() if network is not None and network.compiled],
            "replayed": self.step.replays,
        }

    def _cache(self) -> TeacherCache | None:
        """The cache of what the stages read of the teacher, if one is wanted and any stage can use it."""
        setup, teacher, layout = self.setup, self.objective.teacher, self.objective.teacher_layout
        if setup.cache.mode == "off" or setup.augmentation_space is None or teacher is None or layout is None:
            return None
        taps = [self.objective.teacher_taps(stage.methods, stage.anchor) for stage in setup.stages]
        outputs = frozenset[str]().union(*(cacheable(own, layout) for own in taps))
        if not outputs:
            return None
        on_disk = setup.cache.mode != "memory"
        device = setup.example.device
        return TeacherCache(
            teacher,
            layout,
            outputs,
            augmentation_space=setup.augmentation_space,
            options=setup.cache,
            key=key_of(teacher.model, setup.augmentation_space, setup.cache, device, setup.compute.precision)
            if on_disk
            else None,
            epochs=setup.stages[-1].last,
            example=setup.example,
        )

    def _phases(self, index: int) -> Iterator[Phase]:
        for place, item in enumerate(self.objective.methods):
            pretraining = item.method.pretraining(self.objective.student_side(place))
            if pretraining is not None and pretraining.epochs > 0:
                yield Phase(self.objective, place, pretraining, self.setup.pace, self.setup.compute, index + 1)

    def _put(self, which: Which, last: dict[str, Tensor]) -> None:
        if which == "average" and self.average is not None:
            self.student.load_state_dict(self.average.tensors)
        else:
            self.student.load_state_dict(self.best if which == "best" else last)


def _anchor_name(objective: Objective) -> str | None:
    return ANCHORS.name_of(objective.anchor) if objective.anchor and objective.reference else None


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
