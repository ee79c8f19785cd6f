"""The part of a run's state that is not tensors."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Counters:
    """The part of a run's state that is not tensors.

    Attributes:
        epoch: the last that is done. stage: the present one, counted from 0.
        seconds: spent so far.
        test_top1, test_top5: of the last epoch.
        best: validation accuracy of the stage's best epoch; None without a validation split.
        best_epoch, best_test_top1: of the whole run's best epoch by validation, its number and test accuracy.
        best_validation_top1: likewise, its validation accuracy.
        stage_best_test_top1: test accuracy of the stage's best epoch by validation.
        ema_steps: of the stage's moving average.
        pretrained: epochs done of the phases before the stage. pretraining_epochs: of all such phases so far.
        scaler: of float16 gradients.
        cost: of the stage's steps, once they have been timed.
        stages: the summaries of the stages that are over.
        skipped_steps: because their loss or gradients were not finite.
        teacher: test accuracy of the teacher (top-1, top-5), measured before the first epoch; None: there is none.
        notes: a sentence for each fall-back and warning so far.
        own_notes: those of them that are about the run's folder and not about training.
        stage_key: digest of the present stage in the store; not that of the stage, if parts of the run were trained
            without the store, with other settings or on another machine.
        stored: where the present stage comes from, if it was taken from a store of stages; None: it is trained here.
    """

    epoch: int = 0
    stage: int = 0
    seconds: float = 0.0
    test_top1: float = 0.0
    test_top5: float | None = None
    best: float | None = None
    best_epoch: int | None = None
    best_test_top1: float | None = None
    best_validation_top1: float | None = None
    stage_best_test_top1: float | None = None
    ema_steps: int = 0
    pretrained: int = 0
    pretraining_epochs: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)
    skipped_steps: int = 0
    teacher: list[float | None] | None = None
    notes: list[str] = field(default_factory=list)
    own_notes: list[str] = field(default_factory=list)
    stage_key: str | None = None
    stored: dict[str, Any] | None = None

    def begin_stage(self, stage: int) -> None:
        """A stage begins."""
        self.stage, self.pretrained, self.ema_steps = stage, 0, 0
        self.best = self.stage_best_test_top1 = self.cost = self.stored = None

    def note(self, sentences: Iterable[str]) -> None:
        """Adds sentences that are not there yet."""
        self.notes.extend(sentence for sentence in dict.fromkeys(sentences) if sentence not in self.notes)

    def note_own(self, sentences: Iterable[str]) -> None:
        """Adds sentences about the run's folder, which do not concern another run with the same stages."""
        own = list(sentences)
        self.note(own)
        self.own_notes.extend(own)

    def at_end_of_stage(self) -> dict[str, Any]:
        """The part that is the same in every run with the same stages so far."""
        values = {key: value for key, value in asdict(self).items() if key not in _OF_THE_RUN}
        return {**values, "notes": [note for note in self.notes if note not in self.own_notes]}

    def with_stage(self, stored: Mapping[str, Any], origin: dict[str, Any]) -> dict[str, Any]:
        """The values of these counters after a stage that another run has trained.

        Args:
            stored: the result of :meth:`at_end_of_stage`.
            origin: becomes :attr:`stored`.
        """
        own = asdict(self)
        notes = list(dict.fromkeys([*self.notes, *stored["notes"]]))
        return {**stored, **{key: own[key] for key in _OF_THE_RUN}, "notes": notes, "stored": origin}


_OF_THE_RUN = ("seconds", "stages", "teacher", "own_notes", "stage_key", "stored")
"""Counters that runs with the same stages need not have in common."""
