"""From a recipe to the stages that the engine runs, every default decided."""

from collections.abc import Sequence

from smskd.config.stage import Stage
from smskd.errors import UserError
from smskd.interfaces.terms import Anchor, WeightedMethod
from smskd.objective.resolve_terms import published_ce_weight, weighted
from smskd.recipe import MethodSpec, Recipe, StageSpec
from smskd.recipe.components import anchor_of, hyperparameters, method_of
from smskd.recipe.spec import ComponentSpec, ScheduleSpec
from smskd.registry import ANCHORS
from smskd.strategies import joint, sequential

STRATEGIES = {"sequential": sequential.stages, "joint": joint.stages}


def plan(recipe: Recipe) -> tuple[Stage, ...]:
    """The recipe's stages.

    Raises:
        UserError: a stage that ends before it begins or has no end, an unknown method or hyper-parameter, a value
            out of range.
    """
    specs = _expanded(recipe)
    methods = _methods(specs, shorthand=recipe.stages is None)
    common = anchor_of(recipe.anchor, "anchor")
    held = [
        anchor_of(spec.anchor, f"stages.{index}.anchor") if "anchor" in spec.model_fields_set else common
        for index, spec in enumerate(specs)
    ]
    stages = scheduled(specs, methods, held, recipe.epochs, recipe.schedule)
    for index, stage in enumerate(stages):
        if stage.needs_teacher and recipe.teacher is None:
            who = stage.methods[0].name if stage.methods else "the anchor"
            raise UserError(f"teacher: {who} (stage {index + 1}) reads a teacher; name its model and weights")
    return stages


def scheduled(
    specs: Sequence[StageSpec],
    methods: Sequence[tuple[WeightedMethod, ...]],
    anchors: Sequence[Anchor | None],
    epochs: int,
    schedule: ScheduleSpec,
) -> tuple[Stage, ...]:
    """Stages from their specs, whose methods and anchors are given as objects.

    Raises:
        UserError: a stage that ends before it begins or has no end.
    """
    ends = stage_ends(specs, epochs, schedule)
    starts = [0, *ends[:-1]]
    return tuple(
        Stage(
            methods=own,
            first=start + 1,
            last=end,
            ce_weight=published_ce_weight(own) if spec.ce_weight is None else spec.ce_weight,
            anchor=anchor if start else None,
            schedule=spec.schedule,
            optimizer=spec.optimizer,
            carry=spec.carry,
            reference=spec.reference,
            ema_decay=spec.ema_decay,
        )
        for spec, own, anchor, start, end in zip(specs, methods, anchors, starts, ends, strict=True)
    )


def stage_ends(specs: Sequence[StageSpec], epochs: int, schedule: ScheduleSpec) -> list[int]:
    """The last epoch of each stage, on the clock of the whole run.

    A stage with neither ``until`` nor ``epochs`` runs to the next learning-rate decay, the last one to the end.

    Raises:
        UserError: a stage that ends before it begins, or whose end nothing tells.
    """
    ends: list[int] = []
    for index, spec in enumerate(specs):
        start = ends[-1] if ends else 0
        where = f"stages.{index}"
        if spec.until is not None and spec.epochs is not None:
            raise UserError(f"{where}: give either until or epochs, not both")
        if spec.until is not None:
            end, key = spec.until, ".until"
        elif spec.epochs is not None:
            end, key = start + spec.epochs, ".epochs"
        elif index == len(specs) - 1:
            end, key = epochs, ""
        else:
            end, key = _next_decay(schedule, start, epochs, where), ""
        if end <= start:
            hint = "" if key else f"; the recipe's epochs are {epochs}"
            before = f"before it begins (epoch {start + 1})"
            raise UserError(f"{where}{key}: stage {index + 1} ends after epoch {end}, {before}{hint}")
        ends.append(end)
    return ends


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with everything filled in; it can be trained like any other."""
    specs = [_resolved_stage(*pair) for pair in zip(_expanded(recipe), plan(recipe), strict=True)]
    anchor = _resolved_anchor(anchor_of(recipe.anchor, "anchor"))
    return recipe.model_copy(update={"stages": tuple(specs), "methods": None, "anchor": anchor})


def _expanded(recipe: Recipe) -> tuple[StageSpec, ...]:
    if recipe.stages is not None:
        return recipe.stages or (StageSpec(),)
    return STRATEGIES[recipe.strategy](recipe.methods or ())


def _next_decay(schedule: ScheduleSpec, start: int, epochs: int, where: str) -> int:
    decays = sorted(schedule.decay_epochs) if schedule.name == "step" else []
    for epoch in decays:
        if start < epoch < epochs:
            return epoch
    span = f"between epochs {start + 1} and {epochs}"
    raise UserError(f"{where}: no learning-rate decay {span} ends it; give until or epochs")


def _methods(specs: Sequence[StageSpec], *, shorthand: bool) -> list[tuple[WeightedMethod, ...]]:
    result: list[tuple[WeightedMethod, ...]] = []
    for index, spec in enumerate(specs):
        where, offset = ("methods", sum(map(len, result))) if shorthand else (f"stages.{index}.methods", 0)
        own = [_weighted(item, f"{where}.{offset + place}") for place, item in enumerate(spec.methods)]
        result.append(weighted(own))
    return result


def _weighted(spec: MethodSpec, where: str) -> WeightedMethod:
    method = method_of(spec, where)
    name = spec.name.rpartition(":")[2].lower() if ":" in spec.name else spec.name
    return WeightedMethod(name, method, method.published_weight if spec.weight is None else spec.weight)


def _resolved_stage(spec: StageSpec, stage: Stage) -> StageSpec:
    methods = tuple(
        MethodSpec(name=given.name, weight=item.weight, **hyperparameters(item.method))
        for given, item in zip(spec.methods, stage.methods, strict=True)
    )
    update = {"methods": methods, "ce_weight": stage.ce_weight, "until": stage.last, "epochs": None}
    return spec.model_copy(update={**update, "anchor": _resolved_anchor(stage.anchor)})


def _resolved_anchor(anchor: Anchor | None) -> ComponentSpec | None:
    return None if anchor is None else ComponentSpec(name=ANCHORS.name_of(anchor), **hyperparameters(anchor))
