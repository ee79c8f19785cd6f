"""The training loop: the epochs of a stage. It knows nothing of distillation and sees only an objective."""

import time
from collections.abc import Collection, Iterable, Iterator

from smskd.data import Loader, mix
from smskd.data.loaders.batching import coalesced_batches
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress
from smskd.teacher_cache import TeacherCache
from smskd.teacher_cache.cache import OutputsNotFiniteError
from smskd.timing import sampled_steps
from smskd.training.accuracy import TOP5_CLASSES, Accuracy, evaluate
from smskd.training.config import RunConfig
from smskd.training.ema import ExponentialMovingAverage
from smskd.training.metrics import EpochMetrics
from smskd.training.not_finite import broken_weight, cause_in_inputs, not_finite, statistics
from smskd.training.optimizer import learning_rate, set_learning_rate
from smskd.training.pieces import counted
from smskd.training.reports import EpochReport, Track, untracked
from smskd.training.rng import seed_processes
from smskd.training.step import Step
from smskd.turns import opened, steps


def train_epochs(
    step: Step,
    config: RunConfig,
    stage: int,
    first: int,
    *,
    ema: ExponentialMovingAverage | None = None,
    cache: TeacherCache | None = None,
    track: Track = untracked,
) -> Iterator[EpochReport]:
    """Trains the epochs of a stage from ``first`` on, and yields a report after each.

    Args:
        step: of the stage.
        config: of the run.
        stage: counted from 0.
        first: epoch, counted from 1 over the whole run.
        ema: is updated after each step.
        cache: of the teacher's outputs, for its share of hits.
        track: shows progress within an epoch.
    """
    settings, loader = config.recipe.stages[stage], own_loader(step, config, stage)
    group = coalesced_batches(step.device, settings.batch_size, config.input_form)
    for epoch in range(first, settings.last + 1):
        started = time.perf_counter()
        seed_processes(mix(config.recipe.runtime.seed, epoch), step.objective.predictor, step.processes)
        rate = learning_rate(
            settings.optimizer.learning_rate, config.recipe.schedule, config.recipe.training.epochs, settings, epoch
        )
        set_learning_rate(step.optimizer, rate)
        progress = Progress(epoch - settings.first + 1, settings.epochs)
        batches = step.batches(loader.groups(epoch, progress, step.objective.views))
        timed = sampled_steps(len(loader), group) if epoch == settings.first else ()
        try:
            metrics = train_batches(step, track(batches, len(loader), f"epoch {epoch}"), ema, timed=timed)
            cache_hits = cache.share_of_hits() if cache else None
        except OutputsNotFiniteError as error:
            raise UserError(_cause(step, config, stage, epoch, images_only=True) or str(error)) from None
        if not config.sharing.synchronizes:  # the statistics of the first process count
            step.processes.same(statistics(step.objective))
        trained = time.perf_counter()
        _check(step, config, stage, epoch, metrics)
        yield _report(step, config, epoch, stage, rate, metrics, started, trained, cache_hits, track)


def _check(step: Step, config: RunConfig, stage: int, epoch: int, metrics: EpochMetrics) -> None:
    """Raises UserError if too many steps of an epoch were skipped, or if losses or weights are not finite."""
    metrics.skipped().check(metrics.samples, f"in epoch {epoch}")
    if not_finite(metrics.means()[0]):
        raise UserError(_cause(step, config, stage, epoch) or _of_loss(step, config, stage, epoch, metrics))
    broken = broken_weight(step.objective)
    if broken is not None:
        cause = _cause(step, config, stage, epoch)
        raise UserError(cause or f"{broken} after epoch {epoch}, all losses of which were finite: {_LOWER}")


_LOWER = "lower optimizer.learning_rate"


def _cause(step: Step, config: RunConfig, stage: int, epoch: int, *, images_only: bool = False) -> str | None:
    """What the networks were given in an epoch, where that is not finite."""
    settings = config.recipe.stages[stage]
    progress = Progress(epoch - settings.first + 1, settings.epochs)
    groups = own_loader(step, config, stage).groups(epoch, progress, step.objective.views)
    own = cause_in_inputs(groups, None if images_only else step.frozen_forward)
    cause = next(filter(None, step.processes.all_of(own)), None)
    return cause and f"the loss of epoch {epoch} is not finite, because {cause}"


def _of_loss(step: Step, config: RunConfig, stage: int, epoch: int, metrics: EpochMetrics) -> str:
    """What to do about a loss that is not finite although all that it is computed from is."""
    batch, names = metrics.finite_batches() + 1, ", ".join(metrics.first_not_finite())
    if epoch == config.recipe.stages[stage].first and batch == 1:
        fp16 = ", or train with runtime.precision=bf16" if step.compute.precision == "fp16" else ""
        return (
            f"the loss of the first batch of stage {stage + 1} is not finite in epoch {epoch} ({names}), before any "
            f"update of the stage: lower that method's weight, or check its hyper-parameters{fp16}"
        )
    return (
        f"the loss is no longer finite in epoch {epoch} ({names}): {_LOWER} or that method's weight "
        f"(batch {batch} of the epoch is the first with such a loss)"
    )


def _report(
    step: Step,
    config: RunConfig,
    epoch: int,
    stage: int,
    rate: float,
    metrics: EpochMetrics,
    started: float,
    trained: float,
    cache_hits: float | None,
    track: Track,
) -> EpochReport:
    """The report of an epoch, with the accuracies of the student at its end."""
    losses, top1, top5 = metrics.means()
    test = _accuracy(step, config, config.test, track, "testing")
    held_out = config.validation
    validation = None if held_out is None else _accuracy(step, config, held_out, track, "validating")
    return EpochReport(
        epoch=epoch,
        stage=stage + 1,
        learning_rate=rate,
        losses=losses,
        train_top1=top1,
        train_top5=top5 if config.classes >= TOP5_CLASSES else None,
        test_top1=test.top1,
        test_top5=test.top5,
        images_per_second=round(metrics.samples / (trained - started), 1),
        seconds=round(time.perf_counter() - started, 3),
        test=test,
        validation=validation,
        validation_top1=None if validation is None else validation.top1,
        validation_top5=None if validation is None else validation.top5,
        cache_hits=cache_hits,
        skipped_steps=metrics.skipped().steps if config.recipe.runtime.on_nan == "skip" else None,
    )


def _accuracy(step: Step, config: RunConfig, loader: Loader, track: Track, what: str) -> Accuracy:
    own, count = config.batches.tested(loader)
    batches = track(own, count, what)
    with opened():
        return evaluate(
            step.objective.predictor,
            batches,
            classes=config.classes,
            compute=step.compute,
            with_others=config.batches.all_tested,
        )


def own_loader(step: Step, config: RunConfig, stage: int) -> Loader:
    """The loader of this process's part of the batches of a stage, counted from 0."""
    return config.batches.of(config.loaders[stage], divides=step.objective.divides_batches)


def train_batches(
    step: Step,
    batches: Iterable[Batch],
    ema: ExponentialMovingAverage | None = None,
    *,
    timed: Collection[int] = (),
) -> EpochMetrics:
    """Trains on batches.

    Args:
        step: trains on one.
        batches: of an epoch, or some of them.
        ema: is updated after each step.
        timed: numbers of the steps, from 0, whose parts the step's clock times.
    """
    step.objective.train()
    metrics = EpochMetrics()

    def train(batch: Batch) -> None:
        losses = step(batch)
        metrics.add(losses.parts, losses.logits, batch.y, step.skipped, counted(batch))

    train_on = step.graphed(train, timed=bool(timed))
    with steps() as turn:
        for batch in step.clock.steps(batches, timed):
            train_on(batch)
            metrics.samples += counted(batch)
            if ema is not None:
                ema.update(step.objective.predictor)
            turn.step_done()
    metrics.add_others(step.processes)
    return metrics
