"""Everything that a run will do is tried once before its first epoch: steps of each stage, and evaluation.

A network or a method may fail only for the last, smaller batch of an epoch, only in train mode, or only in a later
stage. Copies are trained, so that neither weights nor buffers nor random state change.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from smskd.data import Loader
from smskd.data.loaders.batching import mapped, split
from smskd.data.loaders.division import Division
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import form_of, take
from smskd.interfaces.objective import Objective
from smskd.interfaces.terms import Term
from smskd.models.copying import copy_of
from smskd.models.dry_run import in_eval_mode
from smskd.models.frozen import Frozen
from smskd.models.image_errors import accepted_size
from smskd.models.memory_errors import is_out_of_memory, out_of_memory_told
from smskd.objective.bound_term import batches_for
from smskd.objective.parts import StageParts
from smskd.timing import IDLE
from smskd.training.config import RunConfig
from smskd.training.optimizer import build_optimizer
from smskd.training.rng import RngSnapshot, generators_of
from smskd.training.step import Step
from smskd.training.teacher_test import knows_the_classes

Observe = Callable[[int, Step, Batch], None]


def rehearse(config: RunConfig, observe: Observe | None = None) -> None:
    """Trains a copy of the student on batches of every size of each stage, and runs the networks on test batches.

    Args:
        config: of a run that has not begun.
        observe: called for each stage, counted from 0, after its steps, with its step and a whole batch.

    Raises:
        UserError: a step or an evaluation fails; the message begins with the stage and names the batch size.
    """
    rng = RngSnapshot(generators_of(config.student))
    try:
        student = _copied(config.student)
        start = reference = Frozen(student, config.example) if _needs_start(config) else None
        for index, stage in enumerate(config.recipe.stages):
            if stage.anchor is not None:
                reference = start if stage.anchor.refers_to == "start" else Frozen(student, config.example)
            objective = _objective(config, index, student, reference)
            own = config.batches.of(config.loaders[index], divides=objective.divides_batches)
            batch = _first_batch(own, Progress(1, stage.epochs), objective.views)
            if index and reference is not None:
                _rehearse_anchor(config, index, objective, reference, batch)
            _rehearse_steps(config, index, objective, batch, observe)
            student = objective.predictor
            if index < len(config.recipe.stages) - 1:
                with _told(index, "the end of the stage fails", "the end of the stage"):
                    objective.end_of_stage(student.eval(), [batch])
        _check_state(student)
        _rehearse_evaluation(config, student, "student")
        for teacher in dict.fromkeys(teacher for teacher in config.teachers if teacher is not None):
            if knows_the_classes(teacher, config):
                _rehearse_evaluation(config, teacher, "teacher")
    finally:
        rng.restore()


def _needs_start(config: RunConfig) -> bool:
    return any(stage.anchor is not None and stage.anchor.refers_to == "start" for stage in config.recipe.stages)


def _copied(student: FeatureModel) -> FeatureModel:
    try:
        return copy_of(student)
    except Exception as error:  # whatever a part of the user's network raises
        raise UserError(f"student: it cannot be copied (copy.deepcopy): {_reason(error)}") from error


def _check_state(student: FeatureModel) -> None:
    """Refuses a student that a checkpoint cannot hold."""
    for name, value in student.wrapped.state_dict().items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            kind = f"a {value.layout} tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise UserError(f"student: its state_dict() has {kind} as '{name}'; a checkpoint holds dense tensors alone")


def _objective(config: RunConfig, index: int, student: FeatureModel, reference: Frozen | None) -> Objective:
    stage = config.recipe.stages[index]
    anchored = stage.anchor is not None and stage.anchor.weight > 0
    parts = StageParts(
        student=student,
        teacher=config.teachers[index],
        reference=reference if anchored else None,
        methods=stage.methods,
        anchor=stage.anchor,
        ce_weight=stage.ce_weight,
        data=config.data_of(index),
        example=config.example,
        sharing=config.sharing,
    )
    with _told(index, "its modules cannot be built", "the modules of its methods: lower their sizes"):
        objective = config.recipe.strategy.objective(parts)
    if parts.data.mixed_labels and not objective.takes_mixed_labels:
        raise UserError(
            f"strategy: {type(objective).__name__} is not defined for mixed labels (takes_mixed_labels): turn off "
            "mixup and cutmix (data.augmentation)"
        )
    return objective


def _rehearse_anchor(config: RunConfig, index: int, objective: Objective, reference: Frozen, batch: Batch) -> None:
    """The anchor learns of the end of the previous stage; EWC estimates the Fisher information there."""
    anchor, state = config.recipe.stages[index].anchor, objective.anchor_state
    if anchor is None or state is None or type(anchor).end_of_stage is Term.end_of_stage:
        return
    model = copy_of(reference.model).to(config.device).requires_grad_(True).eval()
    with _told(index, "the anchor cannot begin", "the anchor"):
        anchor.end_of_stage(model, batches_for(anchor, "the anchor", [batch]), state)


def _rehearse_steps(config: RunConfig, index: int, objective: Objective, batch: Batch, observe: Observe | None) -> None:
    stage, loader = config.recipe.stages[index], config.loaders[index]
    optimizer = build_optimizer(stage.optimizer, objective.parameter_groups())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    processes, accumulate = config.sharing.processes, config.recipe.training.accumulate
    step = Step(
        objective, optimizer, config.recipe.runtime, IDLE, config.device, processes=processes, accumulate=accumulate
    )
    for phase in objective.pretraining_phases():
        with _told(index, f"the pretraining of {phase.name} fails", f"the pretraining of {phase.name}"):
            phase.loss(batch)
    objective.train()
    whole = len(batch.y) if batch.part is None else batch.part.total
    for size in _sizes(loader, whole):
        part = _resized(batch, size, config.batches.division(whole=not objective.divides_batches))
        last = "the last, smaller batch of an epoch" if size < whole else "a batch"
        images = f"{last} ({_samples(size, config)})"
        with _told(
            index,
            f"a training step on {images} fails",
            f"a training step on {images}: lower training.batch_size, or the sizes of {'+'.join(stage.names) or 'it'}",
            lambda: _needed_size(objective.predictor, batch),
        ):
            losses = step(part)
            _check_logits(losses.logits, len(part.y), loader.info.classes)
    if observe is not None:
        observe(index, step, batch)


def _rehearse_evaluation(config: RunConfig, network: nn.Module, role: str) -> None:
    compute = config.recipe.runtime
    for loader in (config.test, config.validation):
        if loader is None:
            continue
        batch = next(iter(loader.epoch(0)))
        for size in _sizes(loader, len(batch.y)):
            images = f"a test batch of {_samples(size, config)}"
            fails, memory = f"evaluation of the {role} on {images} fails", f"{images}: lower training.test_batch_size"
            with _told(None, fails, memory), torch.no_grad(), in_eval_mode(network):
                with compute.autocast(config.device):
                    logits = network(take(batch.x, slice(size)))
                _check_logits(logits, size, config.classes)


def _samples(count: int, config: RunConfig) -> str:
    noun = "image" if isinstance(config.example, Tensor) else "text"
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _resized(batch: Batch, size: int, division: Division) -> Batch:
    """This process's part of a batch of another size, from its rows of the first batch."""
    part = None if batch.part is None else division.part(size)
    count = size if part is None else part.size
    rows = torch.arange(count, device=batch.y.device) % len(batch.y)
    return replace(mapped(batch, lambda tensor: tensor[rows]), keys=None, part=part)


def _first_batch(loader: Loader, progress: Progress, views: frozenset[str]) -> Batch:
    return next(split(next(iter(loader.groups(1, progress, views)))))


def _sizes(loader: Loader, whole: int) -> list[int]:
    """Numbers of images in a whole batch and in the last one."""
    last = loader.info.samples - (len(loader) - 1) * whole
    return [whole, last] if 0 < last < whole else [whole]


def _check_logits(logits: Tensor, size: int, classes: int) -> None:
    if tuple(logits.shape) != (size, classes):
        raise ValueError(f"the logits are {list(logits.shape)} instead of {[size, classes]}")


@contextmanager
def _told(stage: int | None, fails: str, memory: str, hint: Callable[[], str] = str) -> Iterator[None]:
    """Errors within, whatever they are, become a line, which ends with the hint; the original one is their cause."""
    where = "" if stage is None else f"stages.{stage}: "
    work: Callable[[], str] = lambda: f"{where}{memory}"  # noqa: E731
    try:
        with out_of_memory_told(work):
            yield
    except UserError as error:
        message = str(error)
        raise UserError(message if not stage or message.startswith("memory ") else f"{where}{message}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"{where}{fails}: {_reason(error)}{hint()}") from error


def _needed_size(student: FeatureModel, batch: Batch) -> str:
    """A size of images that the student accepts in train mode, where it does not accept these."""
    return accepted_size(student, form_of(batch.x), train=True)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
