"""The stages of a sweep: which runs have them in common, and how many epochs are trained once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smskd.errors import UserError
from smskd.recipe.absolute_paths import absolute_paths
from smskd.strategies.resolve import resolve
from smskd.strategies.resolved import ResolvedRecipe
from smskd.sweeps.space import Point
from smskd.sweeps.sweep_file import Sweep
from smskd.training.stage_keys import planned_keys


@dataclass(frozen=True)
class PlannedStage:
    """A stage that one or more runs of a sweep have.

    Attributes:
        digest: equal ones stand for the same stage.
        methods: of it and of the stages before it, joined by arrows.
        epochs: of it alone.
        seed: of the runs.
    """

    digest: str
    methods: str
    epochs: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep with their stages.

    Attributes:
        points: the runs.
        stages: of each run, in the order of ``points``.
    """

    points: tuple[Point, ...]
    stages: tuple[tuple[PlannedStage, ...], ...]

    @property
    def distinct(self) -> Mapping[str, PlannedStage]:
        """The stages by their digests."""
        return {stage.digest: stage for own in self.stages for stage in own}

    @property
    def epochs(self) -> int:
        """That are trained, shared stages once."""
        return sum(stage.epochs for stage in self.distinct.values())

    @property
    def epochs_of_all_runs(self) -> int:
        """That would be trained without sharing."""
        return sum(stage.epochs for own in self.stages for stage in own)

    def uses(self) -> dict[str, int]:
        """The number of runs that have each stage, by its digest."""
        found: dict[str, int] = {}
        for own in self.stages:
            for stage in own:
                found[stage.digest] = found.get(stage.digest, 0) + 1
        return found


def plan(sweep: Sweep, points: Sequence[Point]) -> Plan:
    """The plan of runs.

    Raises:
        UserError: the recipe of a run cannot be resolved.
    """
    return Plan(tuple(points), tuple(stages_of(_resolved(sweep, point)) for point in points))


def _resolved(sweep: Sweep, point: Point) -> ResolvedRecipe:
    recipe = point.recipe(sweep)
    try:
        return resolve(absolute_paths(recipe))
    except UserError as error:
        raise UserError(f"{point.name}: {error}") from None


def stages_of(recipe: ResolvedRecipe) -> tuple[PlannedStage, ...]:
    """The stages of a run."""
    names = ["+".join(stage.names) or "plain" for stage in recipe.stages]
    return tuple(
        PlannedStage(key.digest, " → ".join(names[: index + 1]), stage.epochs, recipe.runtime.seed)
        for index, (key, stage) in enumerate(zip(planned_keys(recipe), recipe.stages, strict=True))
    )


def first_missing(stages: Iterable[PlannedStage], ready: Iterable[str]) -> str | None:
    """The digest of the first stage that is not ready; None if all are."""
    known = {*ready}
    return next((stage.digest for stage in stages if stage.digest not in known), None)
