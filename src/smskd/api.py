"""The library's top level: distil any pair of networks on any data, train a recipe, load a result."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smskd import session
from smskd.arguments import StageLike, check_arguments, check_settings, dataset_of, stage_config, validation_config
from smskd.build import Provided
from smskd.builder.saved import network_of
from smskd.config.augmentation import AugmentationConfig
from smskd.config.base import ComponentConfig
from smskd.config.cache import CacheConfig, CacheMode
from smskd.config.data import DataConfig, LoaderConfig, ValidationConfig
from smskd.config.given import given
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import StageConfig
from smskd.data import Augmentation, Images, Texts
from smskd.data.samples import Samples
from smskd.distributed import environment
from smskd.distributed.processes import join
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.terms import Anchor, Method, WeightedMethod
from smskd.models.metadata import Facts, facts, set_facts, untrained
from smskd.models.weights import read_weights
from smskd.objective.student_head import head_descriptions
from smskd.recipe import Recipe, TrainingConfig, read
from smskd.strategies.base import Strategy
from smskd.training.globals import preserved_globals
from smskd.training.pretraining import PretrainingReport
from smskd.training.reports import EpochReport

OnEpoch = Callable[[EpochReport | PretrainingReport], object]
"""Is called with the report of each epoch."""


@dataclass(frozen=True)
class Result:
    """The result of training.

    Attributes:
        student: the trained network, in eval mode. :func:`smskd.models.facts` gives its classes and the normalisation
            that it expects.
        summary: the content of ``summary.json``.
        path: the run's folder; None if it was not kept.
    """

    student: nn.Module
    summary: dict[str, Any]
    path: Path | None


def distill(
    *,
    student: nn.Module,
    teacher: nn.Module | None,
    train: Samples | Images | Texts,
    test: Samples | Images | Texts,
    stages: Sequence[StageLike] | None = None,
    methods: Sequence[str | Method | WeightedMethod] | None = None,
    strategy: str | Strategy = "sequential",
    validation: Samples | Images | Texts | ValidationConfig | float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    training: TrainingConfig | None = None,
    optimizer: OptimizerConfig | None = None,
    schedule: ScheduleConfig | None = None,
    anchor: Anchor | str | None = "reference_kl",
    augmentation: Augmentation | AugmentationConfig | None = None,
    loader: LoaderConfig | None = None,
    teacher_cache: CacheMode | CacheConfig = "off",
    runtime: RuntimeConfig | None = None,
    name: str = "distill",
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    on_epoch: OnEpoch | None = None,
) -> Result:
    """Trains a student in stages.

    Random number generators, cuDNN's flags, TF32 and the number of threads are as before when it returns.

    Args:
        student: the network to train, in place: any ``nn.Module`` from images, or tensors by name, to logits. It is
            moved to the device and into the memory format of training, and is in eval mode afterwards; after an error
            it is as far as training came. With a method that replaces its last layers (SimKD) the trained network is
            :attr:`Result.student`, of which this one is a part: its own last layer stays untrained.
        teacher: the network to learn from, likewise; it is copied and left as it is. None for plain training. Where
            :func:`smskd.models.facts` are known of it, it is given the normalisation that it learned, and its classes
            are matched by their names.
        train: map-style data set of (image, label); the image a PIL image, an array or a tensor; or
            :class:`smskd.data.Images`. For networks of texts: map-style data set of (tensors by name, label), or of
            mappings with ``input_ids`` and ``label``, which is read once; or :class:`smskd.data.Texts`.
        test: likewise.
        stages: one entry a stage: a method's name (``"kd"``) or object (``KD(temperature=2)``), several of them in a
            list for a stage that distils them together, an empty list for plain training, or a
            :class:`smskd.StageConfig` with all settings of a stage. By default a stage ends at the next
            learning-rate decay and the last one at the end.
        methods: instead of ``stages``: the methods, which ``strategy`` turns into stages.
        strategy: ``sequential``, ``joint``, or an object of your own class.
        validation: on which ``best`` is selected: a share of the training data (0.1), a
            :class:`smskd.ValidationConfig`, or a data set like ``test``; None: there is none.
        epochs, batch_size: of the whole run, 240 and 64 by default; short for ``training``.
        seed, device: short for ``runtime``. The student's initial weights are its own. The student is moved to the
            device.
        training: see :class:`smskd.TrainingConfig`.
        optimizer: SGD with learning rate 0.05, momentum 0.9 and weight decay 5e-4 by default, as published.
        schedule: by default the published one: the learning rate times 0.1 after 5/8, 6/8 and 7/8 of the epochs.
        anchor: holds the student near the previous stage's, from the second stage on; a name or an object. None:
            nothing does.
        augmentation: of training images: :class:`smskd.AugmentationConfig` as in a recipe, for images of bytes that are
            scaled to 0..1; or :class:`smskd.Augmentation`, with their normalisation, whose ``further`` is such a
            config. By default images are not changed. Float tensors are the output of your own transforms, to which
            random erasing, mixup, CutMix and repeats can be added.
        loader: kind of loader, and worker processes.
        teacher_cache: of the teacher's outputs: a mode or a :class:`smskd.CacheConfig`.
        runtime: seed, device, precision, compilation, TF32, checkpoint interval; see :class:`smskd.RuntimeConfig`.
        name: of the run.
        out: folder for metrics, weights, summary and page; None: nothing is kept.
        resume: go on with the run in ``out``, which was begun with the same arguments and was stopped. If it has
            come to its end already, its student is loaded.
        force: resume also with arguments that change the result by rounding at most, or with more epochs.
        on_epoch: is called with the report of each epoch, those of a method's phase before its stage included;
            ``print`` prints a line.

    Returns:
        The student, trained, with the summary of the run.

    Raises:
        UserError: what is wrong with the arguments, in a line.
    """
    check_arguments(student, teacher, train, test, stages, methods, strategy, validation, on_epoch)
    check_settings(
        training=(training, TrainingConfig),
        optimizer=(optimizer, OptimizerConfig),
        schedule=(schedule, ScheduleConfig),
        augmentation=(augmentation, Augmentation | AugmentationConfig),
        loader=(loader, LoaderConfig),
        runtime=(runtime, RuntimeConfig),
        teacher_cache=(teacher_cache, str | CacheConfig),
        anchor=(anchor, str | Anchor),
        strategy=(strategy, str | Strategy),
        name=(name, str),
        out=(out, str | Path),
        device=(device, str | torch.device),
        resume=(resume, bool),
        force=(force, bool),
    )
    if resume and out is None:
        raise UserError("resume needs out, the folder of the run to go on with")
    runtime = _with(runtime or RuntimeConfig(), seed=seed, device=None if device is None else str(device))
    _check_processes(runtime)
    cache = teacher_cache if isinstance(teacher_cache, CacheConfig) else CacheConfig(teacher_cache)
    recipe = Recipe(
        name=name,
        data=DataConfig(
            ComponentConfig(given(train), {}),
            validation=validation_config(validation),
            augmentation=augmentation if isinstance(augmentation, AugmentationConfig) else AugmentationConfig(),
            loader=loader or LoaderConfig(),
        ),
        student=ModelConfig(given(student)),
        teacher=None if teacher is None else TeacherConfig(given(teacher), cache=cache),
        training=_with(training or TrainingConfig(), epochs=epochs, batch_size=batch_size),
        optimizer=optimizer or OptimizerConfig(),
        schedule=schedule or ScheduleConfig(),
        strategy=strategy,
        methods=None if methods is None else tuple(methods),
        stages=None if stages is None else tuple(map(stage_config, stages)) or (StageConfig(),),
        anchor=anchor,
        runtime=runtime,
    )
    with preserved_globals():
        own = augmentation if isinstance(augmentation, Augmentation) else None
        dataset = dataset_of(student, train, test, validation, own, runtime)
        provided = Provided(student, teacher, dataset, own)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "run" if out is None else Path(out)
            run = session.resume(recipe, folder, force=force) if resume else session.begin(recipe, folder)
            trained = _trained(run, provided, on_epoch, report=out is not None)
            summary = join().from_first(run.folder.load_summary)
    return Result(trained, summary, None if out is None else Path(out))


def train(
    recipe: Recipe | str | Path,
    *overrides: str,
    out: str | Path,
    on_epoch: OnEpoch | None = None,
) -> Result:
    """Trains a recipe, as ``smskd train`` does.

    Random number generators, cuDNN's flags, TF32 and the number of threads are as before when it returns.

    Args:
        recipe: a recipe, or its file.
        overrides: ``"key.path=value"`` each, for a recipe's file.
        out: the run's folder.
        on_epoch: is called with the report of each epoch.

    Raises:
        UserError: what is wrong with the recipe, in a line.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read(recipe, overrides)
    _check_processes(recipe.runtime)
    with preserved_globals():
        run = session.begin(recipe, Path(out))
        trained = _trained(run, None, on_epoch)
        summary = join().from_first(run.folder.load_summary)
    return Result(trained, summary, run.folder.path)


def load(path: str | Path, *, model: nn.Module | None = None, trust: bool = False) -> nn.Module:
    """The student of a run, in eval mode, on the CPU unless ``model`` lies elsewhere.

    :func:`smskd.models.facts` gives its classes and the normalisation that it expects; as a teacher it is given images
    in that normalisation.

    Args:
        path: the run's folder, or a weights file of it (``stages/1/student.safetensors``).
        model: the network, for weights of a network of your own; it is not copied. By default the network is made that
            the file names, if it is of the zoo.
        trust: whether Python objects that the file names are imported, and called with the arguments that it has: a
            model outside the zoo, the head of a method of your own. They could do anything: trust your own files.

    Raises:
        UserError: there is no such file; it is damaged; it names a network that is not of the zoo, and neither
            ``model`` nor ``trust`` is given; or its weights do not fit.
    """
    with preserved_globals():
        return network_of(read_weights(path), model, trust=trust).eval()


def _trained(
    run: session.Run, provided: Provided | None, on_epoch: OnEpoch | None, *, report: bool = True
) -> nn.Module:
    """Goes through a run to its end, and returns the student, in eval mode, with what is known of it."""
    config = run.build(provided)
    set_facts(config.student, untrained(facts(config.student)))
    reports = run.train(config, report=report)
    try:
        while True:
            try:
                found = next(reports)
            except StopIteration as end:
                student: FeatureModel = end.value
                known = Facts.parse(config.student_metadata, "the student")
                set_facts(student, replace(known, heads=tuple(head_descriptions(student))))
                return student.wrapped.eval()
            if on_epoch is not None and isinstance(found, EpochReport | PretrainingReport):
                on_epoch(found)
    finally:
        reports.close()  # puts global state back now, and not when a traceback that holds the generator is freed


def _check_processes(runtime: RuntimeConfig) -> None:
    """Refuses a number of processes that this program was not started with."""
    wanted, started = runtime.processes, environment.count()
    if wanted not in (1, started):
        raise UserError(
            f"runtime.processes: {wanted}, but this program was started in {started}: start it with "
            f"torchrun --nproc-per-node {wanted}"
        )


def _with(settings: Any, **values: Any) -> Any:
    """The settings with the values that are given."""
    chosen = {name: value for name, value in values.items() if value is not None}
    return replace(settings, **chosen) if chosen else settings
