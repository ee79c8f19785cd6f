"""The caches of the teachers' outputs, made for everything that the stages will read."""

from dataclasses import dataclass

from smskd.data.loaders.base import Loader
from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout
from smskd.interfaces.inputs import InputForm
from smskd.models import describe
from smskd.models.frozen import Frozen
from smskd.objective.bound_term import reads_of
from smskd.objective.teachers import members_of
from smskd.strategies.base import Strategy
from smskd.strategies.resolved import ResolvedStage
from smskd.teacher_cache import TeacherCache, cacheable, key_of
from smskd.teacher_cache.record_index import without_records
from smskd.training.config import RunConfig


@dataclass(frozen=True)
class StageCache:
    """The cache of a stage's teacher.

    Attributes:
        cache: None where there is none.
        note: a sentence on why there is none although one was requested; None otherwise.
        stages: that read the cache, counted from 0.
    """

    cache: TeacherCache | None = None
    note: str | None = None
    stages: tuple[int, ...] = ()


def teacher_caches(config: RunConfig) -> tuple[StageCache, ...]:
    """The cache of each stage's teacher; stages with the same teacher share one.

    Images whose random transforms have no countable outcomes are trained on without a cache by variant.

    Raises:
        UserError: there is no room for it, or this teacher cannot be cached.
    """
    made: dict[Frozen, StageCache] = {}
    for teacher in config.teachers:
        if teacher is not None and teacher not in made:
            made[teacher] = _cache(config, teacher)
    return tuple(StageCache() if teacher is None else made[teacher] for teacher in config.teachers)


def _cache(config: RunConfig, teacher: Frozen) -> StageCache:
    indices = [index for index, own in enumerate(config.teachers) if own is teacher]
    stages = [config.recipe.stages[index] for index in indices]
    options = stages[0].teacher.cache if stages[0].teacher is not None else None
    if options is None or options.mode == "off":
        return StageCache()
    if not config.sharing.processes.alone:
        return StageCache(note="The teacher's cache is not used with several processes.")
    layout = describe(teacher.model, config.input_form)
    student = describe(config.student, config.input_form)
    taps = (_taps(stage, config.recipe.strategy, student, teacher, layout, config.input_form) for stage in stages)
    kept = {index: cacheable(own, layout) for index, own in zip(indices, taps, strict=True)}
    outputs = frozenset[str]().union(*kept.values())
    if not outputs:
        return StageCache()
    if not teacher.sees_images_alone:
        raise UserError(
            "teacher.cache: the teacher's outputs for an image depend on the other images of the batch (a batch norm "
            "without running statistics, or in train mode): turn the cache off"
        )
    space = _loader(config, indices).augmentation_space
    reason = without_records(space, options)
    if reason is not None:
        return StageCache(note=f"The teacher's cache '{options.mode}' is not used: {reason}.")
    runtime, on_disk = config.recipe.runtime, options.mode != "memory"
    device = config.device
    cache = TeacherCache(
        teacher,
        layout,
        outputs,
        augmentation_space=space,
        options=options,
        key=key_of(teacher.model, space, options, device, runtime.precision, tf32=runtime.tf32) if on_disk else None,
        epochs=config.recipe.epochs,
        example=config.example,
    )
    return StageCache(cache, stages=tuple(index for index, own in kept.items() if own))


def _loader(config: RunConfig, indices: list[int]) -> Loader:
    return config.loaders[indices[0]]


def _taps(
    stage: ResolvedStage,
    strategy: Strategy,
    student: FeatureLayout,
    teacher: Frozen,
    layout: FeatureLayout,
    input_form: InputForm,
) -> frozenset[str]:
    """What a stage will read of the teacher; nothing where its terms find nothing in the student as it is now."""
    terms = [(item.name, item.method) for item in stage.methods]
    anchor = [] if stage.anchor is None or stage.anchor.weight == 0 else [("the anchor", stage.anchor)]
    try:
        members = members_of(teacher.model, input_form)
        methods = [(own, reads_of(name, term, student, own.layout)) for name, term in terms for own in members]
        others = [reads_of(name, term, student, layout) for name, term in anchor]
        if methods and len(members) == 1:
            others.append(strategy.reads([reads for _, reads in methods], student, layout))
    except UserError:
        return frozenset()
    taps = {own.tap(tap) for own, reads in methods for tap in reads.teacher}
    return frozenset(str(tap) for tap in taps.union(*(reads.teacher for reads in others)))
