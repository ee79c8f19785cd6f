"""The state of a run: everything that the rest of it depends on, with one ``state_dict``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from smskd.data import mix
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.objective import Objective
from smskd.interfaces.terms import Anchor, ReferenceKind, Term
from smskd.models.copying import copy_of
from smskd.models.frozen import Frozen
from smskd.objective.bound_term import batches_for
from smskd.objective.parts import StageParts
from smskd.objective.student_head import head_descriptions
from smskd.strategies.resolved import ResolvedStage
from smskd.teacher_cache import TeacherCache
from smskd.timing import Clock
from smskd.training.accuracy import Accuracy, transitions
from smskd.training.caches import teacher_caches
from smskd.training.checks import check_stages
from smskd.training.compute_policy import CompilePolicy
from smskd.training.config import RunConfig
from smskd.training.counters import Counters
from smskd.training.ema import ExponentialMovingAverage
from smskd.training.host import reset_peak_memory
from smskd.training.optimizer import build_optimizer, carry_state, load_state_tensors, state_tensors
from smskd.training.pretraining import PhaseTrainer
from smskd.training.reports import EpochReport
from smskd.training.rng import seed_everything
from smskd.training.step import Step
from smskd.turns import current


class TrainingState:
    """Student, objective, optimizer and everything else that the rest of a run depends on.

    Args:
        config: of the run.

    Raises:
        UserError: a stage could not begin, or there is no room for a cache.
    """

    def __init__(self, config: RunConfig) -> None:
        check_stages(config)
        self.config = config
        self.counters = Counters()
        self.student: FeatureModel = config.student
        """The network that predicts, with the head of a method that has replaced its own."""
        self.reference: Frozen | None = None
        """The student as it stood at the end of the previous stage; in the first stage, where an anchor reads it, the
        initial student."""
        wanted = any(_refers_to(stage) == "start" for stage in config.recipe.stages)
        self.start = Frozen(self.student, config.example) if wanted else None
        """The student before the first stage, where an anchor of any stage refers to it."""
        self.best: dict[str, Tensor] = {}
        self.correct: Tensor | None = None
        """Which test samples the last epoch's student gets right, bool [N]."""
        self.known: Tensor | None = None
        """Which test samples the student that was carried into the stage gets right, bool [N]."""
        self.caches = teacher_caches(config)
        self.considered: list[TeacherCache] = []
        """The caches for which it has been decided whether they are filled ahead."""
        self.clock = Clock(config.device)
        self._anchor_state: tuple[Anchor, Any] | None = None
        self._step: Step | None = None
        self._ema: ExponentialMovingAverage | None = None
        self._phases: list[PhaseTrainer] = []

    @property
    def stage(self) -> ResolvedStage:
        """The present stage."""
        return self.config.recipe.stages[self.counters.stage]

    @property
    def step(self) -> Step:
        """Of the present stage."""
        assert self._step is not None
        return self._step

    @property
    def objective(self) -> Objective:
        """Of the present stage."""
        return self.step.objective

    @property
    def ema(self) -> ExponentialMovingAverage | None:
        """The moving average of the student over the stage, where it is needed."""
        return self._ema

    @property
    def phases(self) -> list[PhaseTrainer]:
        """The phases before the present stage."""
        return self._phases

    def metadata(self) -> dict[str, str]:
        """Goes into the file of the student's weights, so that it can be loaded alone."""
        heads = head_descriptions(self.student)
        return {**self.config.student_metadata, **({"heads": json.dumps(heads)} if heads else {})}

    def begin_stage(self, index: int) -> None:
        """Begins a stage from the student and the reference as they are."""
        if index == 0 and _refers_to(self.config.recipe.stages[0]) == "previous":
            self.reference = Frozen(self.student, self.config.example)
        previous = self._step
        self.counters.begin_stage(index)
        self._build_stage()
        if previous is not None and self.stage.optimizer_state == "keep":
            carry_state(previous.optimizer, self.step.optimizer)
        self._tell_anchor()

    def compared(self, report: EpochReport) -> EpochReport:
        """The report of an epoch with the transitions of the test samples since the start of the stage."""
        return (
            report if self.known is None else replace(report, transitions=transitions(self.known, report.test.correct))
        )

    def observe(self, report: EpochReport) -> None:
        """Takes in the report of an epoch that is done."""
        counters = self.counters
        self.correct = report.test.correct
        counters.epoch = report.epoch
        counters.seconds += report.seconds
        counters.test_top1, counters.test_top5 = report.test_top1, report.test_top5
        counters.skipped_steps += report.skipped_steps or 0
        counters.ema_steps = self._ema.steps if self._ema else 0
        if report.validation_top1 is not None:
            self._observe_validation(report.epoch, report.validation_top1, report.test_top1)

    def weights(self, which: str) -> dict[str, Tensor]:
        """The weights of the student as it is now, of its best epoch, or their moving average."""
        if which == "best":
            return self.best
        if which == "ema":
            assert self._ema is not None
            return self._ema.tensors
        return self.student.state_dict()

    def end_stage(self) -> None:
        """Freezes the reference, and puts the weights that are carried on into the student."""
        carried = _copied(self.weights(self.stage.carry))
        if self.counters.stage < len(self.config.recipe.stages) - 1:
            if self.stage.reference != "last":
                self.student.load_state_dict(self.weights(self.stage.reference))
            self.student.eval()
            self.objective.end_of_stage(self.student, self.config.loaders[self.counters.stage].epoch(self.stage.last))
            self.reference = Frozen(self.student, self.config.example)
        self.student.load_state_dict(carried)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: tensors by part and name, and the counters."""
        self.counters.scaler = self.step.state_dict()
        parts: dict[str, Mapping[str, Tensor]] = {
            "student": self.student.state_dict(),
            "terms": self.objective.term_states.state_dict(),
            "optimizer": state_tensors(self.step.optimizer),
            "best": self.best,
            "ema": self._ema.tensors if self._ema else {},
            "reference": self.reference.state_dict() if self.reference else {},
            "start": self.start.state_dict() if self.start else {},
            "test": {
                name: value.to(torch.uint8)
                for name, value in (("correct", self.correct), ("known", self.known))
                if value is not None
            },
        }
        for number, phase in enumerate(self._phases):
            if phase.optimizer is not None:
                parts[f"phase{number}"] = state_tensors(phase.optimizer)
        return {**parts, "counters": asdict(self.counters)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back the result of :meth:`state_dict`, within the stage that it was taken in.

        Raises:
            RuntimeError: the tensors are not those of this run's networks and terms.
        """
        self.counters = Counters(**state["counters"])
        self.student = self.config.student
        self._anchor_state = None
        if state.get("start") and self.start is not None:
            self.start.load_state_dict(state["start"])
        self._replace_heads(self.counters.stage)
        device = self.config.device
        if state.get("reference"):
            self.reference = Frozen(self.student, self.config.example)
            self.reference.load_state_dict(state["reference"])
        self._build_stage()
        self.student.load_state_dict(state["student"])
        self.objective.term_states.load_state_dict(state.get("terms", {}))
        load_state_tensors(self.step.optimizer, state.get("optimizer", {}))
        self.step.load_state_dict(self.counters.scaler)
        for number, phase in enumerate(self._phases):
            if phase.optimizer is not None:
                load_state_tensors(phase.optimizer, state.get(f"phase{number}", {}))
        self.best = {name: value.to(device) for name, value in state.get("best", {}).items()}
        if self._ema is not None:
            self._ema.load(state.get("ema", {}), self.counters.ema_steps)
        test = state.get("test", {})
        self.correct = test["correct"].bool() if "correct" in test else None
        self.known = test["known"].bool() if "known" in test else None

    def unkept_reference(self) -> dict[str, Tensor]:
        """The weights of the present stage's reference, where no file of a student has them; empty otherwise."""
        index = self.counters.stage
        if self.reference is None or index == 0 or _refers_to(self.stage) != "previous":
            return {}
        previous = self.config.recipe.stages[index - 1]
        return {} if previous.reference == previous.carry else _copied(self.reference.state_dict())

    def student_bytes(self) -> int:
        """The size of the student's weights."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.student.state_dict().values())

    def load_result(self) -> FeatureModel:
        """The architecture of the finished student, into which its weights can be loaded."""
        self._replace_heads(len(self.config.recipe.stages))
        return self.student

    def accuracy_of_last(self) -> Accuracy | None:
        """The test accuracy of the last epoch's student; None before the first epoch."""
        if self.correct is None:
            return None
        return Accuracy(self.counters.test_top1, self.counters.test_top5, self.correct)

    def _build_stage(self) -> None:
        """The objective, the optimizer and everything else of the stage, fresh."""
        config, stage, index = self.config, self.stage, self.counters.stage
        seed_everything(mix(config.recipe.runtime.seed, 0, index))
        objective = self._built_objective(index)
        self.student = objective.predictor
        optimizer = build_optimizer(stage.optimizer, objective.parameter_groups())
        runtime = config.recipe.runtime
        skips = runtime.on_nan == "skip"
        processes, accumulate = config.sharing.processes, config.recipe.training.accumulate
        self._step = Step(
            objective,
            optimizer,
            runtime,
            self.clock,
            config.device,
            skips=skips,
            processes=processes,
            accumulate=accumulate,
        )
        self._phases = [
            PhaseTrainer(objective, phase, place, stage.optimizer, config.recipe.runtime, index + 1, config.batches)
            for place, phase in enumerate(objective.pretraining_phases())
        ]
        processes.same([*objective.parameters(), *objective.buffers()])
        self._ema = ExponentialMovingAverage(self.student, stage.ema_decay) if stage.keeps("ema") else None
        self.best = {}
        self.clock.reset()
        if current() is None:  # the memory of the process is that of other runs too
            reset_peak_memory(config.device)

    def _built_objective(self, index: int) -> Objective:
        config, stage = self.config, self.config.recipe.stages[index]
        data = config.data_of(index)
        policy = CompilePolicy(config.recipe.runtime, config.example, stage.epochs * data.samples)
        equal = self._anchor_state is not None and self._anchor_state[0] == stage.anchor
        objective = config.recipe.strategy.objective(
            StageParts(
                student=self.student,
                teacher=config.teachers[index],
                reference={"previous": self.reference, "start": self.start}.get(_refers_to(stage) or ""),
                methods=stage.methods,
                anchor=stage.anchor,
                ce_weight=stage.ce_weight,
                data=data,
                example=config.example,
                cache=self.caches[index].cache,
                clock=self.clock,
                extractor=policy.student(self.student) if config.sharing.processes.alone else None,
                compiles=policy.frozen,
                anchor_state=self._anchor_state[1] if equal and self._anchor_state is not None else None,
                sharing=config.sharing,
            )
        )
        if stage.anchor is not None and objective.anchor_state is not None:
            self._anchor_state = stage.anchor, objective.anchor_state
        return objective

    def _tell_anchor(self) -> None:
        """Calls the anchor's ``end_of_stage`` with the reference, and the state that it has in the stage now begun."""
        anchor, state = self.stage.anchor, self.objective.anchor_state
        if anchor is None or state is None or self.reference is None or self.counters.stage == 0:
            return
        if type(anchor).end_of_stage is Term.end_of_stage:
            return
        model = copy_of(self.reference.model).to(self.config.device).requires_grad_(True)
        loader = self.config.loaders[self.counters.stage]
        batches = batches_for(anchor, "the anchor", loader.epoch(self.counters.epoch))
        anchor.end_of_stage(model.eval(), batches, state)

    def _replace_heads(self, stages: int) -> None:
        """Gives the student the heads that the methods of the first stages have put on it."""
        for index in range(stages):
            if self.config.recipe.stages[index].replaces_head:
                self.student = self._built_objective(index).predictor

    def _observe_validation(self, epoch: int, validation: float, test: float) -> None:
        counters = self.counters
        if counters.best_validation_top1 is None or validation > counters.best_validation_top1:
            counters.best_validation_top1, counters.best_epoch, counters.best_test_top1 = validation, epoch, test
        if counters.best is None or validation > counters.best:
            counters.best, counters.stage_best_test_top1 = validation, test
            if self.stage.keeps("best"):
                self.best = _copied(self.student.state_dict())


def _refers_to(stage: ResolvedStage) -> ReferenceKind | None:
    """What the reference of a stage is; None where there is none."""
    return stage.anchor.refers_to if stage.anchor is not None and stage.anchor.weight > 0 else None


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
