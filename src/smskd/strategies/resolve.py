"""From a recipe, or the arguments of ``distill``, to the run with every choice made."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from smskd.config.base import ComponentConfig
from smskd.config.optimization import ScheduleConfig, in_epochs
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.interfaces.terms import Anchor, Method, WeightedMethod
from smskd.objective.resolve_terms import label, weighted
from smskd.recipe.recipe import Recipe
from smskd.registry import ANCHORS, METHODS, STRATEGIES
from smskd.strategies.base import Strategy
from smskd.strategies.resolved import ResolvedRecipe, ResolvedStage


def resolve(recipe: Recipe) -> ResolvedRecipe:
    """The run of a recipe, with every choice made.

    Raises:
        UserError: a stage that ends before it begins or has no end; an unknown method, anchor, strategy or
            hyper-parameter; a value out of range; ``best`` without a validation split; a method without a teacher; an
            anchor in a first stage that cannot act there.
    """
    strategy: Strategy = _made(STRATEGIES, recipe.strategy, Strategy, "strategy")
    configs = _stage_configs(recipe, strategy)
    schedule = recipe.schedule.resolve(recipe.training.epochs)
    methods = _methods(configs, strategy, shorthand=recipe.stages is None)
    common = _anchor(recipe.anchor, "anchor")
    ends = stage_ends(configs, recipe.training.epochs, schedule)
    stages = tuple(
        ResolvedStage(
            methods=own,
            first=start + 1,
            last=end,
            ce_weight=strategy.ce_weight(own) if config.ce_weight is None else config.ce_weight,
            anchor=_stage_anchor(config, common, own, index),
            schedule=None if config.schedule is None else config.schedule.resolve(end - start),
            optimizer=config.optimizer or recipe.optimizer,
            batch_size=config.batch_size or recipe.training.batch_size,
            teacher=config.teacher or recipe.teacher,
            optimizer_state=config.optimizer_state,
            carry=config.carry,
            reference=config.reference,
            ema_decay=config.ema_decay,
        )
        for index, (config, own, start, end) in enumerate(zip(configs, methods, [0, *ends], ends, strict=False))
    )
    _check(recipe, stages)
    return ResolvedRecipe(
        recipe.name,
        recipe.data,
        recipe.student,
        recipe.teacher,
        recipe.training,
        recipe.optimizer,
        schedule,
        strategy,
        stages,
        recipe.runtime,
    )


def stage_ends(configs: Sequence[StageConfig], epochs: int, schedule: ScheduleConfig) -> list[int]:
    """The last epoch of each stage, counted over the whole run.

    A stage with neither ``ends_after`` nor ``epochs`` ends with the next learning-rate decay, the last one with the
    run.

    Args:
        configs: of the stages.
        epochs: of the run.
        schedule: of the run, resolved to epochs.

    Raises:
        UserError: a stage that ends before it begins, or whose end nothing determines.
    """
    ends: list[int] = []
    for index, config in enumerate(configs):
        start = ends[-1] if ends else 0
        where = f"stages.{index}"
        if config.ends_after is not None and config.epochs is not None:
            raise UserError(f"{where}: give either ends_after or epochs, not both")
        if config.ends_after is not None:
            end, key = in_epochs(config.ends_after, epochs), ".ends_after"
        elif config.epochs is not None:
            end, key = start + config.epochs, ".epochs"
        elif index == len(configs) - 1:
            end, key = epochs, ""
        else:
            end, key = _next_decay(schedule, start, epochs, where), ""
        if end <= start:
            hint = "" if key else f"; training.epochs is {epochs}"
            before = f"before it begins (epoch {start + 1})"
            raise UserError(f"{where}{key}: stage {index + 1} ends after epoch {end}, {before}{hint}")
        ends.append(end)
    return ends


def _next_decay(schedule: ScheduleConfig, start: int, epochs: int, where: str) -> int:
    decays = sorted(schedule.decay_epochs) if schedule.name == "step" else []
    for epoch in decays:
        if start < epoch < epochs:
            return epoch
    span = f"between epochs {start + 1} and {epochs}"
    raise UserError(f"{where}: no learning-rate decay {span} ends it; give ends_after or epochs")


def _stage_configs(recipe: Recipe, strategy: Strategy) -> tuple[StageConfig, ...]:
    if recipe.stages is not None:
        return recipe.stages or (StageConfig(),)
    stages = strategy.stages(recipe.methods or ())
    if not isinstance(stages, tuple) or not stages or not all(isinstance(stage, StageConfig) for stage in stages):
        name = STRATEGIES.name_of(strategy)
        raise UserError(f"strategy: stages() of {name} must return a tuple of one or more StageConfig")
    return stages


def _methods(
    configs: Sequence[StageConfig], strategy: Strategy, *, shorthand: bool
) -> list[tuple[WeightedMethod, ...]]:
    result: list[tuple[WeightedMethod, ...]] = []
    for index, config in enumerate(configs):
        where, offset = ("methods", sum(map(len, result))) if shorthand else (f"stages.{index}.methods", 0)
        own = [_method(item, strategy, f"{where}.{offset + place}") for place, item in enumerate(config.methods)]
        result.append(weighted(own))
    return result


def _method(item: Any, strategy: Strategy, where: str) -> WeightedMethod:
    if isinstance(item, WeightedMethod):
        return item
    if isinstance(item, Method):
        return _with_weight(weighted([item])[0], strategy)
    if not isinstance(item, ComponentConfig):
        raise UserError(f"{where}: {item!r} is no method; give a name, a Method or a WeightedMethod")
    options = dict(item.options)
    weight = options.pop("weight", None)
    if weight is not None and not _is_weight(weight):
        raise UserError(f"{where}.weight: must be a number of 0 or more, not {weight!r}")
    method: Method = METHODS.make(ComponentConfig(item.name, options), where)
    weighted([method])  # checks its class attributes
    found = WeightedMethod(label(item.name), method, 0.0 if weight is None else float(weight))
    return _with_weight(found, strategy) if weight is None else found


def _with_weight(item: WeightedMethod, strategy: Strategy) -> WeightedMethod:
    return replace(item, weight=strategy.weight(item.method))


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _anchor(item: Any, where: str) -> Anchor | None:
    return None if item is None else _made(ANCHORS, item, Anchor, where)


def _stage_anchor(
    config: StageConfig, common: Anchor | None, methods: Sequence[WeightedMethod], index: int
) -> Anchor | None:
    where = f"stages.{index}.anchor"
    anchor = common if config.inherits_anchor else _anchor(config.anchor, where)
    if anchor is None:
        return None
    if index == 0 and not anchor.first_stage:
        if config.inherits_anchor:
            return None
        name = ANCHORS.name_of(anchor)
        raise UserError(f"{where}: {name} needs the student of a previous stage, and the first stage has none")
    return anchor.resolve({item.method.kind for item in methods})


def _made(registry: Any, item: Any, base: type[Any], where: str) -> Any:
    """An object of the kind, from a component or as it is given."""
    if isinstance(item, base):
        return item
    if not isinstance(item, ComponentConfig):
        raise UserError(f"{where}: {item!r} is no {registry.noun}; give a name or an object of a subclass")
    return registry.make(item, where)


def _check(recipe: Recipe, stages: Sequence[ResolvedStage]) -> None:
    for index, stage in enumerate(stages):
        if stage.methods and stage.teacher is None:
            name = stage.methods[0].name
            raise UserError(f"teacher: {name} (stage {index + 1}) needs a teacher; give its name and weights")
        for key in ("carry", "reference"):
            if getattr(stage, key) == "best" and recipe.data.validation is None:
                raise UserError(
                    f"stages.{index}.{key}: best is selected on a validation split and there is none; give "
                    "data.validation, such as {fraction: 0.1}, or take last or ema"
                )
