"""The library's top level: distil any pair of networks on any data, train a recipe, load a result."""

import json
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from smskd import models
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.pace import Pace
from smskd.config.runtime import ComputeConfig
from smskd.config.stage import Stage
from smskd.data import Augmentation, Images, MemoryLoader, StreamingLoader, mix
from smskd.data.loaders.decode import image_tensor
from smskd.data.loaders.streaming import Samples
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.terms import Anchor, Method, WeightedMethod
from smskd.objective.resolve_terms import weighted
from smskd.objective.student_head import rebuild_head
from smskd.recipe import OptimizerSpec, Recipe, ScheduleSpec, StageSpec, read
from smskd.recipe.components import anchor_of, method_of
from smskd.recipe.read import load_yaml
from smskd.runs.folder import RECIPE, SUMMARY, RunFolder
from smskd.session import begin, finish
from smskd.strategies.resolve import scheduled
from smskd.teacher_cache import CacheConfig, CacheMode, key_of, replayed_seed
from smskd.training.config import RunConfig
from smskd.training.host import device_of, environment
from smskd.training.run import Report, run

StageLike = str | Method | WeightedMethod | StageSpec | Sequence[str | Method | WeightedMethod]

_LOADER = 0x4C4F4144
TEST_BATCH = 256


@dataclass(frozen=True)
class Result:
    """What training gives.

    Attributes:
        student: the trained model, in eval mode.
        summary: what ``summary.json`` holds.
        path: the run's folder; None if it was not kept.
    """

    student: nn.Module
    summary: dict[str, Any]
    path: Path | None


def distill(
    *,
    student: nn.Module,
    teacher: nn.Module | None,
    stages: Sequence[StageLike],
    train: Samples | Images,
    test: Samples | Images,
    epochs: int = 240,
    batch_size: int = 64,
    optimizer: OptimizerSpec | None = None,
    schedule: ScheduleSpec | None = None,
    anchor: Anchor | None = ReferenceKL(),  # noqa: B008 (frozen)
    augmentation: Augmentation | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int = 0,
    name: str = "distill",
    out: str | Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Report], object] | None = None,
    teacher_cache: CacheMode | CacheConfig = "off",
) -> Result:
    """Trains a student in stages.

    Args:
        student: the network to train, in place: any ``nn.Module`` from pictures to logits.
        teacher: the network to learn from, likewise; it is copied, and left as it is. None for plain training.
        stages: one entry a stage: a method's name (``"kd"``) or object (``KD(temperature=2)``), several of them in
            a list for a stage that distils them together, an empty list for plain training, or a
            :class:`StageSpec`, which can say when the stage ends, and more. Without that, a stage ends at the next
            learning-rate decay and the last one at the end.
        train: map-style data set of (image, label); the image a PIL picture, an array or a tensor.
        test: likewise.
        epochs: of the whole run.
        batch_size: of training.
        optimizer: SGD with learning rate 0.05, momentum 0.9 and weight decay 5e-4 by default, as published.
        schedule: by default the published one, the learning rate times 0.1 after 5/8, 6/8 and 7/8 of the epochs.
        anchor: holds the student near the previous stage's, from the second stage on. None: nothing does.
        augmentation: of pictures of bytes, and how they are normalised; by default they are scaled to 0..1. Float
            tensors are taken as they are.
        seed: of everything random but the student's initial weights, which are the student's own.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``. The student is moved there.
        workers: processes that load samples.
        name: of the run.
        out: folder for metrics, weights, summary and page; None: nothing is kept.
        resume: go on with the run in ``out``, which was begun with the same arguments and was stopped. If it has
            come to its end already, its student is loaded.
        on_epoch: is called with the report of each epoch, those of a method's phase before its stage included;
            ``print`` prints a line.
        teacher_cache: how the teacher's logits and pooled features are kept, as float16: ``off``; ``memory`` (for this
            run) or ``disk`` (for all runs), by sample and variant of ``augmentation``, for pictures of bytes;
            ``replay``, on disk by epoch and sample, for random transforms of the data set's own. A replay plays the
            pictures of the first such run once more: their order and random draws follow from that run's seed, and
            ``seed`` decides the rest. Or :class:`smskd.CacheConfig`, which also say where and how much. Each picture
            is compared with the one that was kept; if it is another, the teacher is asked again.

    Returns:
        The student, trained, with the summary of the run.

    Raises:
        UserError: what is wrong with the arguments, in a line.
    """
    if resume and out is None:
        raise UserError("resume needs out, the folder of the run to go on with")
    where = device_of(device)
    example = _example(train, where)
    learner = models.adapt(student.to(where), example)
    classes = models.describe(learner, _shape(example)).classes
    schedule = schedule or ScheduleSpec(decay_epochs=_published_decays(epochs))
    source = models.adapt(teacher.to(where), example) if teacher is not None else None
    cache = teacher_cache if isinstance(teacher_cache, CacheConfig) else CacheConfig(teacher_cache)
    compute = ComputeConfig()
    loaders = _Loaders(classes, batch_size, augmentation, mix(seed, _LOADER), where, workers, cache.mode != "off")
    training = loaders.training(train)
    augmentation_space = training.augmentation_space if source is not None and cache.mode != "off" else None
    if source is not None and augmentation_space is not None and cache.mode == "replay":
        key = key_of(source, augmentation_space, cache, where, compute.precision)
        loaders = replace(loaders, seed=replayed_seed(key, cache, loaders.seed))
        training = loaders.training(train)
    setup = RunConfig(
        name=name,
        student_name=type(student).__name__,
        student=learner,
        teacher_name=type(teacher).__name__ if teacher is not None else None,
        teacher=source,
        stages=_planned(stages, anchor, epochs, schedule),
        pace=Pace(optimizer or OptimizerSpec(), schedule, epochs, seed),
        train=training,
        test=loaders.testing(test),
        data=training.info,
        example=example,
        pictures={
            "name": type(train).__name__,
            "train_samples": len(train),
            "test_samples": len(test),
            "classes": classes,
            "image_shape": list(_shape(example)),
        },
        compute=compute,
        cache=cache,
        augmentation_space=augmentation_space,
    )
    described = _described(setup, loaders.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = RunFolder(Path(temporary) / "run" if out is None else Path(out))
        if resume:
            _check_same(folder, described)
        else:
            folder.create(described, environment(where))
        trained = _trained(_reports(setup, folder, keep=out is not None), on_epoch)
        summary = json.loads((folder.path / SUMMARY).read_text(encoding="utf-8"))
    return Result(trained, summary, None if out is None else Path(out))


def train(
    recipe: Recipe | str | Path,
    *overrides: str,
    out: str | Path,
    on_epoch: Callable[[Report], object] | None = None,
) -> Result:
    """Trains a recipe, as ``smskd train`` does.

    Args:
        recipe: a recipe, or its file.
        overrides: ``"key.path=value"`` each, for a recipe's file.
        out: the run's folder.
        on_epoch: is called with the report of each epoch.

    Raises:
        UserError: what is wrong with the recipe, in a line.
    """
    begun = begin(recipe if isinstance(recipe, Recipe) else read(recipe, overrides), Path(out))
    trained = _trained(begun.train(begun.setup()), on_epoch)
    summary = json.loads((begun.folder.path / SUMMARY).read_text(encoding="utf-8"))
    return Result(trained, summary, begun.folder.path)


def load(path: str | Path) -> nn.Module:
    """The student of a run, in eval mode.

    Args:
        path: the run's folder, or a weights file of it (``stages/1/student.safetensors``).

    Raises:
        UserError: there is none, or the file does not say which model it belongs to (a run of :func:`distill` on a
            model of your own: build the model and call :func:`smskd.models.load_weights`).
    """
    facts = models.read_metadata(path)
    if "model" not in facts:
        raise UserError(f"{path} does not say which model it belongs to; build it and use smskd.models.load_weights")
    channels, height, width = json.loads(facts["image_shape"])
    model = models.create(
        facts["model"],
        classes=int(facts["classes"]),
        channels=channels,
        image_size=(height, width),
        **json.loads(facts.get("options", "{}")),
    )
    for description in json.loads(facts.get("transformed", "[]")):
        model = rebuild_head(model, description)
    models.load_weights(model.wrapped, path)
    return model.wrapped.eval()


def _reports(setup: RunConfig, folder: RunFolder, *, keep: bool) -> Generator[Report, None, FeatureModel]:
    """Trains; a run that cannot begin leaves nothing behind, one that is not kept gets no page."""
    try:
        return (yield from finish(setup, folder) if keep else run(setup, folder))
    except UserError:
        folder.discard()
        raise


def _trained(reports: Generator[Report, None, FeatureModel], on_epoch: Callable[[Report], object] | None) -> nn.Module:
    """Goes through the reports of a run to its end, and gives the student, in eval mode."""
    while True:
        try:
            report = next(reports)
        except StopIteration as end:
            student: FeatureModel = end.value
            return student.wrapped.eval()
        if on_epoch is not None:
            on_epoch(report)


def _check_same(folder: RunFolder, described: str) -> None:
    """Refuses to go on with a run that is not there or was begun with other arguments."""
    recipe = folder.path / RECIPE
    if not recipe.is_file():
        raise UserError(f"{folder.path} holds no run to go on with; leave out resume to begin one")
    begun = load_yaml(recipe.read_text(encoding="utf-8"), str(recipe))
    now = load_yaml(described, "arguments")
    other = [key for key in now if begun.get(key) != now[key]] if isinstance(begun, dict) else list(now)
    if other:
        raise UserError(f"{folder.path} holds a run with other {', '.join(other)}; resume needs the same arguments")


def _planned(
    stages: Sequence[StageLike], anchor: Anchor | None, epochs: int, schedule: ScheduleSpec
) -> tuple[Stage, ...]:
    pairs = [_spec(stage) for stage in stages] or [(StageSpec(), ())]
    specs, methods = zip(*pairs, strict=True)
    anchors = [
        anchor_of(spec.anchor, f"stages.{index}.anchor") if "anchor" in spec.model_fields_set else anchor
        for index, spec in enumerate(specs)
    ]
    return scheduled(specs, methods, anchors, epochs, schedule)


def _spec(stage: StageLike) -> tuple[StageSpec, tuple[WeightedMethod, ...]]:
    if isinstance(stage, StageSpec):
        methods = [(method_of(item, f"stages: {item.name}"), item) for item in stage.methods]
        given = [
            WeightedMethod(spec.name, method, method.published_weight if spec.weight is None else spec.weight)
            for method, spec in methods
        ]
        return stage, weighted(given)
    if isinstance(stage, str | Method | WeightedMethod):
        return StageSpec(), weighted([stage])
    return StageSpec(), weighted(stage)


def _published_decays(epochs: int) -> tuple[int, ...]:
    decays = sorted({round(epochs * eighths / 8) for eighths in (5, 6, 7)})
    return tuple(epoch for epoch in decays if epoch > 0)


def _example(samples: Samples | Images, device: torch.device) -> Tensor:
    image, _ = samples[0]
    return image_tensor(image).unsqueeze(0).float().to(device)


def _shape(example: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = example.shape
    return int(channels), int(height), int(width)


@dataclass(frozen=True)
class _Loaders:
    classes: int
    batch_size: int
    augmentation: Augmentation | None
    seed: int
    device: torch.device
    workers: int
    checksums: bool

    def training(self, samples: Samples | Images) -> MemoryLoader | StreamingLoader:
        return self._loader(samples, self.batch_size, self.augmentation, shuffle=True)

    def testing(self, samples: Samples | Images) -> MemoryLoader | StreamingLoader:
        plain = self.augmentation.plain() if self.augmentation else None
        return self._loader(samples, max(self.batch_size, TEST_BATCH), plain, shuffle=False)

    def _loader(
        self, samples: Samples | Images, size: int, augmentation: Augmentation | None, *, shuffle: bool
    ) -> MemoryLoader | StreamingLoader:
        if isinstance(samples, Images):
            if samples.classes > self.classes:
                raise UserError(f"the pictures have {samples.classes} classes, the student tells {self.classes} apart")
            return MemoryLoader(samples, size, augmentation, seed=self.seed, device=self.device, shuffle=shuffle)
        return StreamingLoader(
            samples,
            self.classes,
            size,
            augmentation,
            seed=self.seed,
            device=self.device,
            shuffle=shuffle,
            workers=self.workers,
            checksums=self.checksums and shuffle,
        )


def _described(setup: RunConfig, loader_seed: int) -> str:
    stages = [
        {"methods": [f"{item.weight} * {item.method}" for item in stage.methods], "until": stage.last}
        for stage in setup.stages
    ]
    value = {
        "made_by": "smskd.distill",
        "name": setup.name,
        "seed": setup.pace.seed,
        "epochs": setup.pace.epochs,
        "optimizer": setup.pace.optimizer.model_dump(mode="json"),
        "schedule": setup.pace.schedule.model_dump(mode="json"),
        "stages": stages,
        "teacher_cache": setup.cache.mode,
        **({"loader_seed": loader_seed} if setup.cache.mode == "replay" else {}),
    }
    return yaml.safe_dump(value, sort_keys=False)
