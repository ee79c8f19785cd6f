"""Spot-adaptive distillation (Song et al., IEEE TIP 2022, arXiv 2205.02399): a policy chooses where to distil.

For each sample and step a policy decides at which of the places that a method compares, the spots, the sample is
distilled. It is trained by the cross-entropy of a network that is grafted from both: at each spot a sample goes on with
the activation of the teacher, where it is distilled, or of the student, where it is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from smskd.config.stage import StageConfig
from smskd.errors import UserError, nearest, require_between, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.objective import Objective
from smskd.interfaces.terms import Method, WeightedMethod
from smskd.methods.at import AT
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.methods.vid import VID
from smskd.objective.parts import StageParts
from smskd.objective.spots.objective import By, SpotAdaptiveObjective, SpotSettings, Start
from smskd.objective.spots.spot import own_reads
from smskd.objective.weighted_sum import WeightedSum
from smskd.strategies.base import Strategy


@dataclass(frozen=True)
class SpotAdaptive(Strategy):
    """A stage for each method, in the order given; a learned policy chooses for each sample where it is distilled.

    The divergence of the logits is added to every method, as published, and gated by a decision of its own. Equal to
    zju-vipa/spot-adaptive-pytorch for kd, fitnet, at, sp, cc, vid, rkd, pkt, crd, ft and nst; other methods are
    refused. The default weight of a method is that of these experiments (1 for fitnet), and 1 for the cross-entropy.
    Both networks have to be ones of the zoo, or networks with a ``continue_from`` of their own, and a pooled vector.

    Attributes:
        decisions: ``policy``: learned, samples are distilled where they take the teacher's activation; ``reversed``:
            likewise, they are distilled where they take the student's; ``random``: teacher and student with probability
            1/2, without a policy and a grafted network.
        temperature: T of the divergence that is added to a stage without ``kd``.
        kd_weight: its weight, and the default one of ``kd`` as a method (alpha).
        graft_weight: gamma: the policy's cross-entropy is multiplied by it where it is larger than the student's, and
            divided by it where it is smaller. With random decisions it is the default weight of the cross-entropy.
            None: as published for CIFAR-100, 2 in a stage with at or vid and 1 otherwise.
        start: ``teacher``: the policy begins with nearly every sample distilled everywhere; ``even``: with half of
            them. ``auto``: ``teacher`` for networks of one family of the zoo whose pooled vectors have equal widths,
            ``even`` for all others, which are the published choices.
        learning_rate_scale: learning rate of policy and regressors as a multiple of the student's.
        weight_decay: of policy and regressors.
    """

    decisions: By = "policy"
    temperature: float = 4.0
    kd_weight: float = 1.0
    graft_weight: float | None = None
    start: Start = "auto"
    learning_rate_scale: float = 0.5
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        for name, choices in (("decisions", By), ("start", Start)):
            value = getattr(self, name)
            if value not in get_args(choices):
                raise UserError(f"unknown {name} '{value}'{nearest(str(value), get_args(choices))}")
        require_positive(temperature=self.temperature, learning_rate_scale=self.learning_rate_scale)
        require_between(0, math.inf, kd_weight=self.kd_weight, weight_decay=self.weight_decay)
        if self.graft_weight is not None:
            require_positive(graft_weight=self.graft_weight)

    def stages(self, methods: Sequence[Any]) -> tuple[StageConfig, ...]:
        """A stage for each method; one of plain training for none."""
        return tuple(StageConfig(methods=(method,)) for method in methods) or (StageConfig(),)

    def objective(self, parts: StageParts) -> Objective:
        """That of spot-adaptive distillation; in a stage without methods the cross-entropy, and the anchor.

        Raises:
            UserError: a method that has no gate, or networks that cannot be grafted.
        """
        if not parts.methods or parts.teacher is None:
            return WeightedSum(parts)
        settings = SpotSettings(
            decisions=self.decisions,
            kd=KD(self.temperature),
            kd_weight=self.kd_weight,
            graft_weight=self._gamma(parts.methods),
            start=self.start,
            learning_rate_scale=self.learning_rate_scale,
            weight_decay=self.weight_decay,
        )
        return SpotAdaptiveObjective(parts, settings)

    def reads(self, methods: Sequence[Reads], student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The features at the spots, the pooled vectors and the logits."""
        return Reads([LOGITS], [LOGITS]) if self.decisions == "random" else own_reads(methods, student, teacher)

    def weight(self, method: Method) -> float:
        """That of the published experiments: 1 for fitnet, ``kd_weight`` for kd, otherwise that of the method."""
        if isinstance(method, KD):
            return self.kd_weight
        return 1.0 if isinstance(method, FitNet) else method.published_weight

    def ce_weight(self, methods: Sequence[WeightedMethod]) -> float:
        """1; with random decisions gamma."""
        return self._gamma(methods) if self.decisions == "random" and methods else 1.0

    def _gamma(self, methods: Sequence[WeightedMethod]) -> float:
        if self.graft_weight is not None:
            return self.graft_weight
        return 2.0 if any(isinstance(item.method, AT | VID) for item in methods) else 1.0
