"""The losses of methods on the samples that were chosen for each of them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from smskd.interfaces.features import TappedOutputs
from smskd.interfaces.terms import Method, TermInputs
from smskd.methods.ft import FT
from smskd.objective.bound_term import BoundTerm, selected_rows

_PAIR = 2


@dataclass(frozen=True)
class GatedTerm:
    """A method of a stage, with the decisions that gate it.

    Attributes:
        bound: the method with its modules and weight.
        decisions: for each part of its loss the number of the decision; a single one gates all parts.
    """

    bound: BoundTerm
    decisions: tuple[int, ...]

    def weighted_losses(self, inputs: TermInputs, chosen: Tensor) -> dict[str, Tensor]:
        """Its parts of the loss, gated and weighted, by their names in the whole loss.

        Args:
            inputs: of the whole batch.
            chosen: [N, K] bool, by sample and decision.

        Returns:
            Scalars. A loss per sample is averaged over the batch, with 0 for a sample that was not chosen. The loss of
            a method that relates samples is computed among the n chosen ones alone and multiplied by n/N.
        """
        if _method(self.bound).relates_samples:
            losses = self._among_chosen(inputs, chosen[:, self.decisions[0]])
        else:
            losses = self._of_each(inputs, chosen)
        weight, name = self.bound.weight, self.bound.name
        names = [name if len(losses) == 1 else f"{name}.{part}" for part in losses]
        return dict(zip(names, (weight * loss for loss in losses.values()), strict=True))

    def _of_each(self, inputs: TermInputs, chosen: Tensor) -> dict[str, Tensor]:
        losses = self.bound.term.loss(inputs, self.bound.state)
        numbers = self.decisions if len(self.decisions) > 1 else self.decisions * len(losses)
        pairs = zip(losses.items(), numbers, strict=True)
        return {part: self._gated(loss, chosen[:, number]) for (part, loss), number in pairs}

    def _gated(self, loss: Tensor, chosen: Tensor) -> Tensor:
        gated = torch.where(chosen, loss, 0.0).mean()
        if isinstance(self.bound.term, FT):  # as published, the whole batch where no sample is chosen
            return torch.where(chosen.any(), gated, loss.mean())
        return gated

    def _among_chosen(self, inputs: TermInputs, chosen: Tensor) -> dict[str, Tensor]:
        rows = chosen.nonzero().squeeze(1)
        if len(rows) < (_PAIR if _method(self.bound).kind == "relation" else 1):
            return {self.bound.name: inputs.student.features[0].new_zeros(())}
        losses = self.bound.term.loss(_rows(inputs, rows), self.bound.state)
        share = len(rows) / len(chosen)
        return {part: share * (loss.mean() if loss.dim() else loss) for part, loss in losses.items()}


def _rows(inputs: TermInputs, rows: Tensor) -> TermInputs:
    """The inputs of some samples of a batch."""
    return replace(
        inputs,
        batch=selected_rows(inputs.batch, rows),
        student=_outputs(inputs.student, rows),
        teacher=_outputs(inputs.teacher, rows),
    )


def _outputs(outputs: TappedOutputs, rows: Tensor) -> TappedOutputs:
    logits = outputs.logits[rows] if outputs.logits.numel() else outputs.logits
    return TappedOutputs(logits, tuple(feature[rows] for feature in outputs.features))


def _method(term: BoundTerm) -> Method:
    assert isinstance(term.term, Method)
    return term.term
