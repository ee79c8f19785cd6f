"""Stages that a run has in common with others: taken from the store, or trained once and put there."""

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.file_names import STORED
from smskd.runs.folder import RunFolder
from smskd.stage_store import StageKey, StageStore, StoredStage
from smskd.stage_store.reservation import Reservation
from smskd.training.checkpoints import by_part, saved_parts
from smskd.training.config import RunConfig
from smskd.training.host import environment
from smskd.training.reports import StoreReport
from smskd.training.stage_keys import stage_keys
from smskd.training.state import TrainingState


class SharedStages:
    """The stages of a run in the store of its recipe; without one, every stage is trained.

    It is made with the number of threads that the run has.

    Args:
        config: of the run.
        folder: of the run.
        state: of the run, with its checkpoint if there is one.
        resumed: whether there is one.

    Raises:
        UserError: the store cannot be made.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, state: TrainingState, *, resumed: bool) -> None:
        self._config, self._folder, self._state = config, folder, state
        self._keys: tuple[StageKey, ...] = ()
        """Empty: the store is not used."""
        if config.recipe.runtime.store is None:
            return
        if not config.sharing.processes.alone:
            self._note("The store of stages is not used with several processes.")
            return
        self._store = StageStore(Path(config.recipe.runtime.store))
        self._store.create()
        try:
            self._keys = stage_keys(config)
        except ValueError as error:
            self._note(f"The store of stages is not used: the source code of {error} cannot be found.")
            return
        if resumed and state.counters.stage_key != self._keys[state.counters.stage].digest:
            self._keys = ()
            self._note(
                "The store of stages is not used: a part of the run was trained without it, with other settings or "
                "code, or on another machine."
            )

    def obtain(self, index: int) -> Generator[StoreReport, None, AbstractContextManager[Any] | None]:
        """Takes a stage from the store, after waiting for another process that trains it.

        Args:
            index: of the stage, which has not come to its end yet.

        Returns:
            None: the stage is taken, and the state is that at its end. Otherwise it is to be trained within this
            context, which keeps other processes from training it too.
        """
        if not self._keys:
            return nullcontext()
        key = self._keys[index]
        if (taken := self._take(index, key)) is not None:
            yield taken
            return None
        reservation = Reservation(self._store.file(key))
        told = False
        for holder in reservation.acquire():
            if not told:
                yield self._report(index, waits_for=holder)
            told = True
        try:
            taken = self._take(index, key)  # another process may have trained it meanwhile
        except BaseException:
            reservation.__exit__(None, None, None)
            raise
        if taken is None:
            return reservation
        reservation.__exit__(None, None, None)
        yield taken
        return None

    def begun(self) -> None:
        """A stage has begun, to be trained here."""
        if self._keys:
            counters = self._state.counters
            counters.stage_key = self._keys[counters.stage].digest

    def publish(self) -> None:
        """Puts the end of the present stage, which has come, into the store."""
        counters = self._state.counters
        if not self._keys or counters.stored is not None:
            return
        key = self._keys[counters.stage]
        if self._store.holds(key):
            return
        tensors, _ = saved_parts(self._state)
        metrics, pretraining = self._folder.lines_of_stage(counters.stage + 1)
        values = {
            "counters": counters.at_end_of_stage(),
            "metrics": metrics,
            "pretraining": pretraining,
            "seconds": round(sum(line["seconds"] for line in (*metrics, *pretraining)), 3),
            "environment": environment(self._config.device, tf32=self._config.recipe.runtime.tf32),
            "run": self._config.recipe.name,
        }
        try:
            self._store.save(key, StoredStage(tensors, values))
        except UserError as error:
            self._note(f"The end of stage {counters.stage + 1} is not in the store: {error}.")

    def _take(self, index: int, key: StageKey) -> StoreReport | None:
        """Takes a stage that is in the store; one that is damaged is removed."""
        try:
            stored = self._store.load(key)
        except UserError as error:
            self._note(f"Stage {index + 1} is trained anew: {error}.")
            self._store.discard(key)
            return None
        if stored is None:
            return None
        seconds = float(stored.values["seconds"])
        self._restore(index, key, stored)
        return self._report(index, seconds=seconds)

    def _restore(self, index: int, key: StageKey, stored: StoredStage) -> None:
        """The state at the end of the stage, in place of what was trained of it here."""
        counters = self._state.counters
        begun = counters.pretrained if counters.stage == index else 0
        self._folder.truncate(self._config.recipe.stages[index].first - 1, counters.pretraining_epochs - begun)
        origin = {"digest": key.digest, "seconds": stored.values["seconds"]}
        values = {**counters.with_stage(stored.values["counters"], origin), "stage_key": key.digest}
        self._state.load_state_dict({**by_part(stored.tensors), "counters": values})
        for line in stored.values["pretraining"]:
            self._folder.append_pretraining({**line, STORED: True})
        for line in stored.values["metrics"]:
            self._folder.append_metrics({**line, STORED: True})

    def _report(self, index: int, *, waits_for: str | None = None, seconds: float = 0.0) -> StoreReport:
        stage = self._config.recipe.stages[index]
        methods = "+".join(stage.names) or "plain training"
        return StoreReport(index + 1, methods, stage.first, stage.last, waits_for, seconds)

    def _note(self, sentence: str) -> None:
        self._state.counters.note_own([sentence])
