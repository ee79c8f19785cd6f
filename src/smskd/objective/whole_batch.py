"""What a term that relates samples is given where several processes share a batch: the whole batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from smskd.distributed.processes import Processes
from smskd.distributed.rows import gathered
from smskd.distributed.sharing import Sharing
from smskd.interfaces.batch import Batch, Part
from smskd.interfaces.features import TappedOutputs
from smskd.interfaces.inputs import mapped_inputs
from smskd.interfaces.terms import TermInputs
from smskd.objective.bound_term import BoundTerm


class WholeBatch(Batch):
    """A batch of all processes. Its samples, which few terms read, are gathered where they are read.

    All processes run the same terms, so that each of them asks for the samples, or none.
    """

    own: Batch
    rows: Any

    def __getattr__(self, name: str) -> Any:
        """Is called for what is not there yet."""
        if name not in ("x", "views"):
            raise AttributeError(name)
        own = vars(self)["own"]
        rows = vars(self)["rows"]
        value: Any
        if name == "x":
            value = mapped_inputs(own.x, rows)
        else:
            value = {view: rows(images) for view, images in own.views.items()}
        object.__setattr__(self, name, value)
        return value


def whole_batch(batch: Batch, part: Part, processes: Processes) -> WholeBatch:
    """The batch of all processes, from their parts."""
    rows = partial(gathered, part=part, processes=processes)
    whole = object.__new__(WholeBatch)
    vars(whole).update(
        own=batch,
        rows=rows,
        y=rows(batch.y),
        index=None if batch.index is None else rows(batch.index),
        progress=batch.progress,
        keys=None,
        outputs=None,
        part=None,
        targets=None if batch.targets is None else rows(batch.targets),
    )
    return whole


class TermsOfParts:
    """The losses of terms for a batch, of which this process may have only some rows.

    The loss of a term that relates samples is computed in every process for the whole batch; its gradient is then the
    same whichever process has which rows. Every other term is given the rows of this process.

    Args:
        batch: with the rows of this process, and ``part`` where other processes have others.
        sharing: of batches.
    """

    def __init__(self, batch: Batch, sharing: Sharing) -> None:
        self._batch = batch
        self._sharing = sharing
        self._whole: WholeBatch | None = None

    def losses(self, terms: Sequence[BoundTerm], inputs: Callable[[BoundTerm], TermInputs]) -> dict[str, Tensor]:
        """The weighted parts of the terms, in their order.

        Args:
            terms: of the stage.
            inputs: gives what a term reads of the rows of this process.
        """
        parts: dict[str, Tensor] = {}
        for term in terms:
            with self.seen_by(term, inputs(term)) as seen:
                parts |= term.weighted_losses(seen)
        return parts

    @contextmanager
    def seen_by(self, term: BoundTerm, inputs: TermInputs) -> Iterator[TermInputs]:
        """What a term sees; its modules run within."""
        part = self._batch.part
        if part is None or not (self._sharing.relates(part) and term.term.relates_samples):
            with self._sharing.synchronized(part):
                yield inputs
            return
        self._whole = self._whole or whole_batch(self._batch, part, self._sharing.processes)
        yield self._whole_inputs(inputs, term.readable(self._whole), part)

    def _whole_inputs(self, inputs: TermInputs, batch: Batch, part: Part) -> TermInputs:
        def all_rows(own: Tensor) -> Tensor:
            return gathered(own, part, self._sharing.processes) if own.numel() else own  # no logits are tapped

        def tapped(own: TappedOutputs) -> TappedOutputs:
            return TappedOutputs(all_rows(own.logits), tuple(map(all_rows, own.features)))

        student, teacher, reference = (tapped(own) for own in (inputs.student, inputs.teacher, inputs.reference))
        return replace(inputs, batch=batch, student=student, teacher=teacher, reference=reference)
