"""The runs of a sweep that several processes share: which are done, which are being trained, and by whom."""

import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from smskd.sweeps.storage import quiet

if TYPE_CHECKING:
    import optuna

State = Literal["running", "complete", "pruned", "failed", "lost"]

PATIENCE = 90.0
"""Seconds without a sign of life after which a process on another machine counts as dead."""

BEAT = 10.0
"""Seconds between two signs of life."""

MOST_ATTEMPTS = 3
"""Processes that may die with a run before it counts as failed."""


@dataclass(frozen=True)
class Attempt:
    """An attempt to train a run: a trial of the study.

    Attributes:
        number: of the trial; earlier ones have lower numbers.
        run: the name of the run's folder in that of the sweep.
        state: ``lost``: its process died. ``failed``: it cannot be trained.
        worker: ``host``, ``process`` and a random ``token``.
        facts: everything that the worker has told: ``epoch``, ``epochs``, ``stage`` (that is being trained), ``ready``
            (stages that have come to their end), ``trained``, ``beat``, ``error``.
        value: accuracy, where it is complete.
        params: of a search.
    """

    number: int
    run: str
    state: State
    worker: Mapping[str, Any]
    facts: Mapping[str, Any]
    value: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


class RunQueue:
    """The runs of a sweep in its study.

    Args:
        study: of Optuna.
    """

    def __init__(self, study: "optuna.Study") -> None:
        self._study = study
        self._beats: dict[int, tuple[Any, float]] = {}
        """The last sign of life of each attempt, and when it was first seen here."""

    def attempts(self) -> list[Attempt]:
        """All attempts so far, the earliest first. One whose process has died is ``lost``, and told to be so."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            attempt = _attempt(trial)
            if attempt is None:
                continue
            if attempt.state == "running" and not self._lives(attempt):
                self._end(attempt.number, "FAIL", lost=True)
                attempt = replace(attempt, state="lost")
            found.append(attempt)
        return found

    def claim(self, run: str, facts: Mapping[str, Any], trial: "optuna.Trial | None" = None) -> int | None:
        """Begins an attempt.

        Args:
            run: that no live process trains.
            facts: of the attempt.
            trial: that the sampler has made; None: a new one.

        Returns:
            The number of the attempt; None: another process was faster.
        """
        from optuna.trial import TrialState, create_trial

        token = uuid.uuid4().hex
        worker = {"host": socket.gethostname(), "process": os.getpid(), "token": token}
        values = {"run": run, "worker": worker, **facts}
        if trial is None:
            with quiet():
                self._study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=values))
        else:
            for key, value in values.items():
                trial.set_user_attr(key, value)
        own = [attempt for attempt in self.attempts() if attempt.run == run and attempt.state == "running"]
        number = next(attempt.number for attempt in own if attempt.worker.get("token") == token)
        if number == min(attempt.number for attempt in own):
            return number
        self._end(number, "FAIL", duplicate=True)
        return None

    def tell(self, number: int, **facts: Any) -> None:
        """Writes down facts of an attempt."""
        trial = self._trial(number)
        for key, value in facts.items():
            trial.set_user_attr(key, value)

    def complete(self, number: int, value: float) -> None:
        """An attempt has come to its end."""
        with quiet():
            self._study.tell(number, value, skip_if_finished=True)

    def prune(self, number: int) -> None:
        """A search goes no further with a run."""
        self._end(number, "PRUNED")

    def fail(self, number: int, error: str) -> None:
        """A run cannot be trained."""
        self._end(number, "FAIL", error=error)

    def give_back(self, number: int) -> None:
        """A run is stopped, and another attempt may go on with it."""
        self._end(number, "FAIL", lost=True, stopped=True)

    def lose(self, number: int) -> None:
        """The process of a run is about to die with it."""
        self._end(number, "FAIL", lost=True)

    def should_prune(self, number: int, epoch: int, value: float) -> bool:
        """Reports an accuracy to the pruner, and asks it."""
        trial = self._trial(number)
        trial.report(value, epoch)
        return trial.should_prune()

    def ask(self) -> "optuna.Trial":
        """A new trial of the sampler."""
        with quiet():
            return self._study.ask()

    def drop(self, trial: "optuna.Trial", value: float | None) -> None:
        """A trial of the sampler that is no new run."""
        from optuna.trial import TrialState

        with quiet():
            if value is None:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._study.tell(trial, value)

    def _trial(self, number: int) -> "optuna.Trial":
        import optuna

        frozen = next(trial for trial in self._study.get_trials(deepcopy=False) if trial.number == number)
        return optuna.trial.Trial(self._study, frozen._trial_id)

    def _end(self, number: int, state: str, **facts: Any) -> None:
        from optuna.trial import TrialState

        self.tell_if_running(number, facts)
        with quiet():
            self._study.tell(number, state=TrialState[state], skip_if_finished=True)

    def tell_if_running(self, number: int, facts: Mapping[str, Any]) -> None:
        """Writes down facts of an attempt, unless it has been ended meanwhile."""
        try:
            self.tell(number, **facts)
        except Exception as error:
            if type(error).__name__ not in ("UpdateFinishedTrialError", "RuntimeError"):
                raise

    def _lives(self, attempt: Attempt) -> bool:
        """Whether the process of a running attempt lives, as far as can be told from here."""
        if attempt.worker.get("host") == socket.gethostname():
            return _runs(attempt.worker.get("process"))
        seen, now = attempt.facts.get("beat"), time.monotonic()
        known = self._beats.get(attempt.number)
        if known is None or known[0] != seen:
            self._beats[attempt.number] = seen, now
            return True
        return now - known[1] < PATIENCE


def _attempt(trial: "optuna.trial.FrozenTrial") -> Attempt | None:
    """The attempt of a trial; None for one that is not ours, or of which not everything is known yet."""
    facts = dict(trial.user_attrs)
    if "run" not in facts or "worker" not in facts or facts.get("duplicate"):
        return None
    states: dict[str, State] = {"RUNNING": "running", "COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    state = states.get(trial.state.name)
    if state is None:
        return None
    if state == "failed" and (facts.get("lost") or "error" not in facts):
        state = "lost"
    value = trial.value if trial.state.name == "COMPLETE" else None
    return Attempt(trial.number, str(facts["run"]), state, facts["worker"], facts, value, trial.params)


def _runs(process: Any) -> bool:
    """Whether there is a process of this machine with this number."""
    if process == os.getpid():
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError, ValueError, OverflowError):
        return False
    except OSError:
        return True
    return not _is_zombie(int(process))


def _is_zombie(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def latest(attempts: Iterable[Attempt]) -> dict[str, Attempt]:
    """The last attempt at each run that says most about it: a complete one, else the last."""
    found: dict[str, Attempt] = {}
    for attempt in attempts:
        if attempt.run not in found or found[attempt.run].state != "complete":
            found[attempt.run] = attempt
    return found
