"""The checkpoints of a run: when one is due, what is in it, and going on from it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from smskd.errors import UserError
from smskd.runs.folder import CHECKPOINT, METRICS, PRETRAINING, STUDENT, SUMMARY, Checkpoint, RunFolder
from smskd.training.config import RunConfig
from smskd.training.host import environment
from smskd.training.identity import Identity, check_identity
from smskd.training.state import TrainingState
from smskd.turns import current

_COMPARED = ("smskd", "torch", "processor", "device", "device_name", "processes")
"""The facts of a machine that change the rounding of a run."""

_MOST_THREADS = 1024
"""More than any machine has; the checkpoint may be a stranger's."""


class Checkpoints:
    """Writes the checkpoints of a run, and reads the one that it goes on from.

    Args:
        config: of the run.
        folder: of the run.

    Raises:
        UserError: the checkpoint is damaged, or missing although there are results.
    """

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self._config, self._folder, self._runtime = config, folder, config.recipe.runtime
        self._last = 0.0
        self._newest = config.sharing.processes.from_first(lambda: _newest(config, folder))
        if self._newest is None:
            self._notes: list[str] = []
        else:
            self._notes = [self._newest.note] if self._newest.note else []
        self._environment = self._same_threads()
        folder.save_environment(self._environment)

    def resume(self, state: TrainingState, force: bool) -> bool:
        """Puts the checkpoint, if there is one, into the state, and removes everything that is newer from the folder.

        Args:
            state: at the beginning of the run.
            force: whether harmless differences of the settings are taken.

        Returns:
            Whether there is a checkpoint.

        Raises:
            UserError: the run was begun with other settings, data or weights; or metrics are damaged.
        """
        checkpoint, self._newest = self._newest, None  # its tensors need not stay in memory
        if checkpoint is not None:
            _load(state, checkpoint, self._folder, force)
            state.counters.note_own([*self._notes, *self._missing_students(state.counters.stage)])
            self._last = state.counters.seconds
        self._folder.truncate(state.counters.epoch, state.counters.pretraining_epochs)
        return checkpoint is not None

    def save(self, state: TrainingState) -> None:
        """Writes a checkpoint."""
        if not self._config.sharing.processes.first:
            return
        tensors, counters = saved_parts(state)
        identity = self._config.identity
        values = {
            "counters": counters,
            "digest": identity.digest,
            "identity": dict(identity.facts),
            "environment": self._environment,
        }
        self._folder.save_checkpoint(Checkpoint(tensors, values), self._runtime.keep_checkpoints)
        self._last = state.counters.seconds

    def save_if_due(self, state: TrainingState) -> None:
        """Writes a checkpoint at the end of a stage, and of the epochs that the settings name."""
        epoch, waited = state.counters.epoch, state.counters.seconds - self._last
        every = epoch % self._runtime.checkpoint_every == 0 and waited >= 60 * self._runtime.checkpoint_minutes
        if every or epoch == state.stage.last:
            self.save(state)

    def _same_threads(self) -> dict[str, Any]:
        """The environment, after taking the number of threads that the run was begun with."""
        begun = {} if self._newest is None else self._newest.values.get("environment", {})
        threads = begun.get("threads")
        sharing = self._config.sharing
        before = {"processes": 1} if begun else {}
        begun = {**before, **begun}
        alike = begun.get("processes") == sharing.processes.count
        if alike and isinstance(threads, int) and 0 < threads <= _MOST_THREADS and threads != torch.get_num_threads():
            if current() is not None:
                raise UserError(
                    f"{self._folder.path} was begun with {threads} threads, and the runs beside it have "
                    f"{torch.get_num_threads()}: resume it without --together"
                )
            torch.set_num_threads(threads)
        now = environment(self._config.device, tf32=self._runtime.tf32, processes=sharing.processes.count)
        changed = [f"{key} {begun[key]}, now {now[key]}" for key in _COMPARED if begun.get(key, now[key]) != now[key]]
        if changed:
            more = "" if alike or (sharing.gathers and sharing.synchronizes) else "more than "
            self._notes.append(
                f"The run was begun with {'; '.join(changed)}: its result may differ by {more}rounding from that of an "
                "uninterrupted run."
            )
        return now

    def _missing_students(self, stages: int) -> list[str]:
        if not self._config.sharing.processes.first:
            return []
        problems = [self._folder.problem_of_student(stage) for stage in range(1, stages + 1)]
        return [f"When the run was resumed: {problem}." for problem in problems if problem]


def _newest(config: RunConfig, folder: RunFolder) -> Checkpoint | None:
    """The checkpoint to go on from, which must be there if there are results."""
    found = folder.load_checkpoint()
    if found is None:
        _check_nothing_is_missing(config, folder)
    return found


def _check_nothing_is_missing(config: RunConfig, folder: RunFolder) -> None:
    """Refuses to start over where epochs have been trained, of which nothing is left but the metrics."""
    path = folder.path
    if (path / STUDENT).exists():
        raise UserError(
            f"{path / SUMMARY} is missing, though the run has come to its end ({STUDENT} is there); put it back, or "
            "train again in another folder"
        )
    epochs, pretraining = folder.lines()
    runtime, first_stage = config.recipe.runtime, config.recipe.stages[0].last
    first = first_stage if runtime.checkpoint_minutes else min(runtime.checkpoint_every, first_stage)
    # A process that is killed after a line, before the checkpoint, leaves a line too many.
    if epochs > first or pretraining > 1:
        files = METRICS if not pretraining else f"{METRICS} and {PRETRAINING}"
        raise UserError(
            f"{path / CHECKPOINT} is missing, though {epochs + pretraining} epochs are trained; put it back, or remove "
            f"{files} to start the run again"
        )


def _load(state: TrainingState, checkpoint: Checkpoint, folder: RunFolder, force: bool) -> None:
    try:
        begun = Identity(checkpoint.values["identity"])
        check_identity(begun, state.config.identity, folder.path, force=force)
        state.load_state_dict({**by_part(checkpoint.tensors), "counters": checkpoint.values["counters"]})
    except (RuntimeError, KeyError, IndexError, TypeError) as error:
        if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
            raise
        raise UserError(
            f"{folder.path / CHECKPOINT} does not fit the run ({str(error).splitlines()[0]}); "
            f"{folder.to_start_again(folder.path / CHECKPOINT)}"
        ) from None


def saved_parts(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state as files hold it: the tensors by ``<part>.<name>``, and the counters."""
    parts = state.state_dict()
    counters: dict[str, Any] = parts.pop("counters")
    return {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}, counters


def by_part(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of :func:`saved_parts` by part and name, as a state loads them."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, own = name.partition(".")
        parts.setdefault(part, {})[own] = value
    return parts
