"""A sweep as all its processes see it: what is to be done, and the next run for a process."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from smskd.errors import UserError
from smskd.sweeps.plan import Plan, PlannedStage, first_missing, plan
from smskd.sweeps.run_queue import MOST_ATTEMPTS, Attempt, RunQueue, latest
from smskd.sweeps.space import Point, name_of, points, sequence
from smskd.sweeps.storage import load_study, open_storage, quiet, shown
from smskd.sweeps.sweep_file import Sweep

if TYPE_CHECKING:
    import optuna

_SWEEP, _FORGIVEN = "sweep", "forgiven"
"""Attributes of the study: the sweep; the number of the first attempt whose failures count."""

_MOST_DUPLICATES = 200
"""Sequences in a row that the sampler may suggest again."""


@dataclass(frozen=True)
class Job:
    """A run that a process has claimed.

    Attributes:
        number: of the attempt.
        point: the run.
        alone: whether it is the last attempt at a run with which processes have died: none is trained beside it, which
            would count as lost with it.
    """

    number: int
    point: Point
    alone: bool = False


def _trained(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """What determines the runs of a sweep: all but the baseline of its page."""
    config = {key: value for key, value in sweep["config"].items() if key != "baseline"}
    return {**sweep, "config": config}


class Board:
    """A sweep in its storage.

    Args:
        sweep: that was begun.
        study: of Optuna.
        place: of the storage, for messages.
    """

    def __init__(self, sweep: Sweep, study: "optuna.Study", place: str) -> None:
        self.sweep, self.place = sweep, place
        self._study = study
        self.queue = RunQueue(study)
        self.search = sweep.config.search
        self.plan: Plan = plan(sweep, [] if self.search else points(sweep.config))
        self._stages: dict[str, tuple[PlannedStage, ...]] = dict(
            zip((str(point.folder) for point in self.plan.points), self.plan.stages, strict=True)
        )

    @classmethod
    def begin(cls, sweep: Sweep, place: str) -> "Board":
        """Begins a sweep, or goes on with it: runs that have failed are tried again.

        Raises:
            UserError: the storage holds another sweep of this name, or cannot be used.
        """
        storage = open_storage(place)
        import optuna

        with quiet():
            own = {"study_name": sweep.config.name, "storage": storage, **_options(sweep)}
            study = optuna.create_study(direction="maximize", load_if_exists=True, **own)
        text = json.dumps(sweep.as_mapping())
        begun = study.user_attrs.get(_SWEEP)
        if begun is None:
            study.set_user_attr(_SWEEP, text)
        elif _trained(json.loads(begun)) != _trained(json.loads(text)):
            raise UserError(
                f"{shown(place)} holds another sweep called '{sweep.config.name}': undo the change of its file, or "
                "begin another one with another name, or in another folder"
            )
        if begun is not None and begun != text:
            study.set_user_attr(_SWEEP, text)
        study.set_user_attr(_FORGIVEN, len(study.get_trials(deepcopy=False)))
        return cls(sweep, study, place)

    @classmethod
    def join(cls, place: str, name: str) -> "Board":
        """A sweep that was begun.

        Raises:
            UserError: there is none.
        """
        study = load_study(place, name)
        text = study.user_attrs.get(_SWEEP)
        if text is None:
            raise UserError(f"{shown(place)}: the study '{name}' is no sweep of smskd, or is only just being begun")
        sweep = Sweep.of(json.loads(text))
        return cls(sweep, load_study(place, name, **_options(sweep)), place)

    def stages_of(self, point: Point) -> tuple[PlannedStage, ...]:
        """The stages of a run."""
        key = str(point.folder)
        if key not in self._stages:
            (self._stages[key],) = plan(self.sweep, [point]).stages
        return self._stages[key]

    def next_job(self) -> Job | Literal["wait", "done"]:
        """Claims a run that is to be trained.

        Returns:
            ``wait``: all that is left is being trained by other processes, which may die; ``done``: nothing is left.
        """
        attempts = self.queue.attempts()
        running = [attempt for attempt in attempts if attempt.state == "running"]
        found = self._next_of_search(attempts) if self.search else self._next_of_product(attempts)
        return found or ("wait" if running else "done")

    def left(self) -> int | None:
        """The number of runs that nobody trains or has trained; None: a search, which decides that later."""
        if self.search:
            return None
        last = self._last(self.queue.attempts())
        return sum(self._is_open(last.get(str(point.folder))) for point in self.plan.points)

    def failures(self) -> dict[str, str]:
        """The message for each run that has failed."""
        return {
            attempt.run: str(attempt.facts.get("error", "its processes have died"))
            for attempt in self._last(self.queue.attempts()).values()
            if attempt.state == "failed" or (attempt.state == "lost" and self._is_given_up(attempt.run))
        }

    def _last(self, attempts: list[Attempt]) -> dict[str, Attempt]:
        forgiven = int(self._study.user_attrs.get(_FORGIVEN, 0))
        return latest(
            attempt for attempt in attempts if attempt.number >= forgiven or attempt.state not in ("failed", "lost")
        )

    def _is_given_up(self, run: str) -> bool:
        return self._deaths(run) >= MOST_ATTEMPTS

    def _deaths(self, run: str) -> int:
        """How many processes have died with a run."""
        forgiven = int(self._study.user_attrs.get(_FORGIVEN, 0))
        return sum(
            (attempt.run, attempt.state) == (run, "lost")
            and attempt.number >= forgiven
            and not attempt.facts.get("stopped")
            for attempt in self.queue.attempts()
        )

    def _job(self, number: int, point: Point) -> Job:
        return Job(number, point, alone=self._deaths(str(point.folder)) == MOST_ATTEMPTS - 1)

    def _next_of_product(self, attempts: list[Attempt]) -> Job | None:
        last = self._last(attempts)
        left = [point for point in self.plan.points if self._is_open(last.get(str(point.folder)))]
        for point in self._by_readiness(left, attempts):
            number = self.queue.claim(str(point.folder), self._facts(point))
            if number is not None:
                return self._job(number, point)
        return None

    def _is_open(self, attempt: Attempt | None) -> bool:
        return attempt is None or (attempt.state == "lost" and not self._is_given_up(attempt.run))

    def _by_readiness(self, left: list[Point], attempts: list[Attempt]) -> Iterator[Point]:
        """Runs whose next stage nobody is training, before those that would wait for it."""
        ready = {digest for attempt in attempts for digest in attempt.facts.get("ready", ())}
        trained = {attempt.facts.get("stage") for attempt in attempts if attempt.state == "running"}
        waiting = [point for point in left if first_missing(self.stages_of(point), ready) in trained]
        yield from (point for point in left if point not in waiting)
        yield from waiting

    def _facts(self, point: Point, **more: Any) -> dict[str, Any]:
        stages = self.stages_of(point)
        return {
            "epochs": sum(stage.epochs for stage in stages),
            "epoch": 0,
            "trained": 0,
            "ready": [],
            "stage": stages[0].digest,
            **more,
        }

    def _next_of_search(self, attempts: list[Attempt]) -> Job | None:
        last = self._last(attempts)
        for attempt in [*last.values()]:
            if attempt.state == "lost" and not self._is_given_up(attempt.run):
                point = self._point_of(attempt.facts["methods"])
                number = self.queue.claim(str(point.folder), self._facts(point, methods=attempt.facts["methods"]))
                if number is not None:
                    return self._job(number, point)
        return self._next_sequence(attempts, last)

    def _next_sequence(self, attempts: list[Attempt], last: Mapping[str, Attempt]) -> Job | None:
        """A run that the sampler suggests, within the budget."""
        for _ in range(_MOST_DUPLICATES):
            if self.budget_left(attempts) <= 0:
                return None
            trial = self.queue.ask()
            methods = self._suggested(trial)
            point = self._point_of(methods)
            known = last.get(str(point.folder))
            cost = self._costs(point, attempts)
            if known is not None or cost > self.budget_left(attempts):
                self.queue.drop(trial, None if known is None else known.value)
                continue
            number = self.queue.claim(str(point.folder), self._facts(point, methods=list(methods), cost=cost), trial)
            if number is not None:
                return self._job(number, point)
        return None

    def budget_left(self, attempts: list[Attempt]) -> int:
        """Epochs that a search may still train: the budget less those that are trained or begun."""
        assert self.search is not None
        spent = 0
        for attempt in attempts:
            begun = int(attempt.facts.get("cost", 0)) if attempt.state == "running" else 0
            spent += max(begun, int(attempt.facts.get("trained", 0)))
        return self.search.epochs - spent

    def _costs(self, point: Point, attempts: list[Attempt]) -> int:
        """Epochs of a run that nobody has trained yet."""
        ready = {digest for attempt in attempts for digest in attempt.facts.get("ready", ())}
        return sum(stage.epochs for stage in self.stages_of(point) if stage.digest not in ready)

    def _suggested(self, trial: "optuna.Trial") -> tuple[str, ...]:
        """A sequence of different methods: where one is suggested again, the next that is free takes its place."""
        assert self.search is not None
        names, (least, greatest) = self.search.of, self.search.span
        left = list(names)
        found = []
        for place in range(trial.suggest_int("stages", least, greatest)):
            wanted = names.index(trial.suggest_categorical(f"method_{place + 1}", names))
            name = next(name for name in (*names[wanted:], *names[:wanted]) if name in left)
            left.remove(name)
            found.append(name)
        return tuple(found)

    def examples(self) -> list[Point]:
        """Runs in which everything occurs that the others consist of, of one seed, for checks before training.

        Of a search: each method as the first and as a further stage.
        """
        if self.search is None:
            return [point for point in self.plan.points if point.seed == self.sweep.config.seeds[0]]
        names, longest = self.search.of, self.search.span[1]
        return [self._point_of((*names[place:], *names[:place])[:longest]) for place in range(len(names))]

    def _point_of(self, methods: Any) -> Point:
        assert self.search is not None
        changes = sequence(list(methods), self.search.stage_epochs)
        return Point(name_of(self.sweep.config.name, changes), self.sweep.config.seeds[0], changes)


def _options(sweep: Sweep) -> dict[str, Any]:
    import optuna

    search = sweep.config.search
    if search is None:
        return {"sampler": optuna.samplers.RandomSampler(0), "pruner": optuna.pruners.NopPruner()}
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    pruners = {"median": optuna.pruners.MedianPruner, "none": optuna.pruners.NopPruner}
    return {"sampler": samplers[search.sampler](seed=search.seed), "pruner": pruners[search.pruner]()}
