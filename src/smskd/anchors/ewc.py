r"""EWC: elastic weight consolidation.

Paper: Kirkpatrick et al.: Overcoming Catastrophic Forgetting in Neural Networks, PNAS 2017

arXiv: 1612.00796

Formula:
    L = \frac{1}{2} \sum_i F_i (w^s_i - w^r_i)^2,
    F_i = \frac{1}{N} \sum_{n=1}^{N} \mathbb{E}_{c \sim p^r(c|x_n)}
          \left( \frac{\partial \log p^r(c|x_n)}{\partial w^r_i} \right)^2

Reads: the trainable parameters of the student, and those of the reference of the same names.

Shapes: any; F has the shape of the weights.

Source: the paper, which has no published code; online EWC: Schwarz et al.: Progress & Compress, ICML 2018, arXiv
    1805.06370; estimators: van de Ven: On the Computation of the Fisher Information in Continual Learning, 2025,
    arXiv 2502.11756

Differences:
    - F is the mean over the samples, so that a weight of 1 is the Laplace approximation for stages with the same number
      of samples, beside a cross-entropy that is averaged over the batch.
    - The paper keeps a penalty for each earlier task. Here there is one, around the latest weights (Huszár: Note on
      the Quadratic Penalties in Elastic Weight Consolidation, PNAS 2018, arXiv 1712.03847): with `decay` 0 its F is
      that of the last stage, otherwise that of online EWC, F = decay * F_before + F_stage. Schwarz et al. normalise
      the F of each task; here it is not normalised.
    - All stages of a run see the same data, which is why `decay` is 0 by default.
    - Images are those of the training loader, with their augmentation, and the network is in eval mode.
    - Parameters that the reference lacks, or has in another shape, are free.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from smskd.anchors._fisher import Estimator, diagonal_fisher
from smskd.errors import UserError, nearest, require_between, require_count
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, Reads
from smskd.interfaces.terms import Anchor, DataInfo, LabelUse, TermInputs
from smskd.ops.precision import full_precision


def ewc_loss(weights: Mapping[str, Tensor], reference: Mapping[str, Tensor], fisher: Mapping[str, Tensor]) -> Tensor:
    """Half of the squared distance between two sets of weights, in the metric of the diagonal Fisher information.

    Kirkpatrick et al. 2017, arXiv 1612.00796.

    Args:
        weights: of the student, by name.
        reference: of the reference, by name; receives no gradient. Further names are ignored.
        fisher: diagonal of the Fisher information, by name, in the shapes of the weights.

    Returns:
        A scalar, summed over all elements.
    """
    return _half_weighted_distance(
        list(weights.values()), [reference[name].detach() for name in weights], [fisher[name] for name in weights]
    )


@full_precision
def _half_weighted_distance(weights: list[Tensor], reference: list[Tensor], fisher: list[Tensor]) -> Tensor:
    triples = zip(weights, reference, fisher, strict=True)
    return torch.stack([(factor * (weight - old).square()).sum() for weight, old, factor in triples]).sum() / 2


class FisherInformation(nn.Module):
    """Diagonal Fisher information by parameter name.

    Its buffers are registered by the first :meth:`update`, or by loading a state dict that contains them.
    """

    _PREFIX = "fisher/"

    def __init__(self) -> None:
        super().__init__()
        self._place: Tensor
        self.register_buffer("_place", torch.empty(0), persistent=False)  # keeps the device while there are no others

    def of(self, name: str) -> Tensor | None:
        """The information on a parameter, in its shape; None before the end of the first stage."""
        return self._buffers.get(self._key(name))

    @torch.no_grad()
    def update(self, fisher: Mapping[str, Tensor], decay: float) -> None:
        """Replaces the information F by ``decay * F + fisher``, in place. Parameters not in ``fisher`` are dropped."""
        keys = {self._key(name) for name in fisher}
        for key in [key for key in self._buffers if key.startswith(self._PREFIX) and key not in keys]:
            del self._buffers[key]
        for name, new in fisher.items():
            old = self.of(name)
            if old is None or old.shape != new.shape:
                self.register_buffer(self._key(name), new.detach().clone())
            else:
                old.mul_(decay).add_(new)

    def _key(self, name: str) -> str:
        return self._PREFIX + name.replace(".", "/")  # the names of buffers hold no dots

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for key, value in state_dict.items():
            own = key.removeprefix(prefix)
            if key.startswith(prefix + self._PREFIX) and own not in self._buffers:
                self.register_buffer(own, torch.empty_like(value, device=self._place.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


@dataclass(frozen=True)
class EWC(Anchor):
    """Elastic weight consolidation: weights are held the tighter, the more the predictions depend on them.

    The Fisher information is estimated at the end of a stage and used in the next one. There is none in the first
    stage, where the anchor is refused.

    Attributes:
        weight: weight of the loss in the objective (lambda of the paper), 0 or more. 1 is the Laplace approximation;
            larger values forget less.
        fisher: how the Fisher information is estimated. ``exact``: the expectation over all classes, one gradient per
            sample and class; ``sampled``: one label per sample, drawn from the network; ``empirical``: the labels of
            the data, which underestimates where they are fitted; ``batched``: one squared gradient per batch, for
            labels drawn from the network. All but ``empirical`` are unbiased.
        samples: number of training samples that it is estimated from, the first of an epoch; None: all of them.
            ``exact`` computes this number times the number of classes of gradients, the others one for each sample.
        decay: factor of the information of the stages before the last, from 0 (the last stage alone) to 1 (their sum);
            gamma of online EWC.
    """

    weight: float = 1.0
    fisher: Estimator = "exact"
    samples: int | None = 500
    decay: float = 0.0

    def __post_init__(self) -> None:
        require_between(0, math.inf, weight=self.weight)
        require_between(0, 1, decay=self.decay)
        if self.samples is not None:
            require_count(samples=self.samples)
        if self.fisher not in get_args(Estimator):
            raise UserError(f"unknown fisher '{self.fisher}'{nearest(str(self.fisher), get_args(Estimator))}")

    @property
    def label_use(self) -> LabelUse:
        """One class for each sample with ``empirical``; otherwise labels have no influence."""
        return "hard" if self.fisher == "empirical" else "mixed"

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The weights of student and reference."""
        return Reads(weights=True)

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """A :class:`FisherInformation`, which is empty until the end of a stage."""
        return FisherInformation()

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``ewc``: :func:`ewc_loss` over the shared parameters, a scalar.

        Raises:
            UserError: there is no Fisher information of the student's parameters, as no stage came before.
        """
        held: dict[str, Tensor] = {}
        fisher: dict[str, Tensor] = {}
        for name, weight in inputs.weights.items():
            reference = inputs.reference_weights.get(name)
            information = cast(FisherInformation, state).of(name)
            if reference is not None and information is not None and reference.shape == weight.shape:
                held[name], fisher[name] = weight, information
        if not held:
            raise UserError(
                "ewc: no Fisher information of the student's parameters; it is estimated at the end of a stage"
            )
        return {"ewc": ewc_loss(held, inputs.reference_weights, fisher)}

    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch], state: nn.Module) -> None:
        """Estimates the Fisher information of the stage; see :class:`EWC`."""
        fisher = diagonal_fisher(model, batches, estimator=self.fisher, samples=self.samples)
        cast(FisherInformation, state).update(fisher, self.decay)
