"""The objective of spot-adaptive distillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads, Tap
from smskd.interfaces.inputs import Inputs
from smskd.interfaces.objective import Losses, ParameterGroup
from smskd.methods.cc import Embeddings
from smskd.methods.fitnet import FitNetState
from smskd.methods.kd import KD
from smskd.objective.bound_term import BoundTerm
from smskd.objective.parts import StageParts
from smskd.objective.spots.gates import GatedTerm
from smskd.objective.spots.grafting import Grafted, Grafting, check_continues
from smskd.objective.spots.policy import (
    TEACHER_BIAS,
    Decisions,
    Policy,
    decide,
    gumbel_noise,
    random_decisions,
)
from smskd.objective.spots.spot import NAME, Spot, check_methods, check_one_teacher, ordered, own_reads, spots_of
from smskd.objective.weighted_sum import WeightedSum, check_classes
from smskd.ops.layers import ConvRegressor
from smskd.ops.spot_regressor import MapRegressor

By = Literal["policy", "reversed", "random"]
Start = Literal["auto", "teacher", "even"]

_LOGITS = Tap(LOGITS)


@dataclass(frozen=True)
class SpotSettings:
    """The settings of the objective; see :class:`smskd.strategies.spot_adaptive.SpotAdaptive`."""

    decisions: By
    kd: KD
    kd_weight: float
    graft_weight: float
    start: Start
    learning_rate_scale: float
    weight_decay: float


class SpotAdaptiveObjective(WeightedSum):
    """Cross-entropy, the methods' losses on the samples that a policy chooses, and the loss that trains the policy.

    Args:
        parts: of the stage, with a teacher and methods.
        settings: of the strategy.

    Raises:
        UserError: a method without a published gate; networks without a pooled vector, that cannot be entered at the
            spots, or of different classes.
    """

    def __init__(self, parts: StageParts, settings: SpotSettings) -> None:
        check_methods(parts.methods)
        check_one_teacher(parts.teacher)
        self.settings = settings
        super().__init__(parts)
        student, teacher = self.models.student_layout, self.models.teacher_layout
        assert teacher is not None
        check_classes(NAME, (student, teacher), self.own_reads())
        by_method = [spots_of(term.reads) for term in self.methods]
        self.spots = ordered([spot for spots in by_method for spot in spots], student, teacher)
        self.gated = self._gated_terms(by_method)
        self._fit_states()
        if self.learns:
            self._check_networks()
            widths = (teacher.features[teacher.pooled][0], student.features[student.pooled][0])
            bias = TEACHER_BIAS if self._starts_with_teacher(*widths) else 0.0
            policy = Policy(*widths, len(self.spots) + 1, bias)
            self.agent = nn.ModuleDict({"policy": policy, "grafting": Grafting(self.spots, student, teacher)})
            self.term_states.append(self.agent.to(parts.device))

    @property
    def divides_batches(self) -> bool:
        return False

    @property
    def learns(self) -> bool:
        """Whether a policy is trained."""
        return self.settings.decisions != "random"

    @property
    def decision_count(self) -> int:
        """K: one a spot and one at the logits; random ones at the logits are those of the last of several spots."""
        return len(self.spots) if not self.learns and len(self.spots) > 1 else len(self.spots) + 1

    def own_reads(self) -> Reads:
        student, teacher = self.models.student_layout, self.models.teacher_layout
        if teacher is None or not self.learns:
            return Reads([LOGITS], [LOGITS])
        return own_reads([term.reads for term in self.methods], student, teacher)

    def parameter_groups(self) -> list[ParameterGroup]:
        agent = tuple(self.agent.parameters()) if self.learns else ()
        known = set(map(id, agent))
        groups = super().parameter_groups()
        rest = tuple(parameter for group in groups for parameter in group.parameters if id(parameter) not in known)
        scale, decay = self.settings.learning_rate_scale, self.settings.weight_decay
        return [
            ParameterGroup(rest),
            *([ParameterGroup(agent, weight_decay=decay, learning_rate_scale=scale)] if agent else []),
        ]

    def forward(self, batch: Batch | tuple[Inputs, Tensor]) -> Losses:
        """The losses of a batch.

        Args:
            batch: a :class:`smskd.Batch`, or (images [N, channels, height, width], labels [N]).
        """
        batch, student = self.outputs(batch)
        decisions = self.decide(batch, student)
        ce = self._cross_entropy(student, batch.labels)
        parts = {"ce": self.parts.ce_weight * ce, **self.gated_losses(batch, student, decisions.chosen)}
        if self.anchor is not None:
            parts |= self.anchor.weighted_losses(self.anchor.inputs(batch, student, self._weights))
        if self.learns:
            parts |= self.policy_losses(self.graft(batch, decisions), batch.labels, ce.detach(), decisions)
        return Losses(torch.stack(list(parts.values())).sum(), parts, student[_LOGITS])

    def decide(self, batch: Batch, student: dict[Tap, Tensor]) -> Decisions:
        """The decisions for a batch, from the outputs of both networks."""
        assert batch.outputs is not None
        logits = student[_LOGITS].detach()
        shape = (len(logits), self.decision_count, 2)
        dtype = logits.dtype if logits.dtype == torch.float64 else torch.float32
        if not self.learns:
            return random_decisions(self.normal(shape, dtype))
        own, other = self.models.student_layout.pooled, self._teacher_layout.pooled
        scores = self.agent["policy"](batch.outputs.teacher[Tap(other)], student[Tap(own)])
        return decide(scores, gumbel_noise(self.uniform(shape, dtype)))

    def uniform(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Uniform random numbers on [0, 1), from the device's generator."""
        return torch.rand(shape, dtype=dtype, device=self.parts.device)

    def normal(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Standard normal numbers, from the device's generator."""
        return torch.randn(shape, dtype=dtype, device=self.parts.device)

    def gated_losses(self, batch: Batch, student: dict[Tap, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        """The weighted parts of the methods, of the samples that are distilled at each of them.

        Args:
            batch: with the outputs of the teacher.
            student: its outputs.
            chosen: [N, K] bool, where a sample takes the teacher.
        """
        distilled = ~chosen if self.settings.decisions == "reversed" else chosen
        parts: dict[str, Tensor] = {}
        for term in self.gated:
            parts |= term.weighted_losses(term.bound.inputs(batch, student, self._weights), distilled)
        return parts

    def graft(self, batch: Batch, decisions: Decisions) -> Grafted:
        """The grafted pass.

        Raises:
            UserError: the teacher was given other images than the student.
        """
        if batch.teacher_images is not batch.x:
            raise UserError(
                f"{NAME}: it joins features of teacher and student of the same image: leave out "
                "data.augmentation.consistent=false"
            )
        assert batch.outputs is not None
        assert self.parts.teacher is not None
        outputs = {tap.feature: value for tap, value in batch.outputs.teacher.items()}
        grafting = self.agent["grafting"]
        result: Grafted = grafting(self.student, self.parts.teacher, batch.x, outputs, decisions.taken)
        return result

    def policy_losses(self, grafted: Grafted, y: Tensor, ce: Tensor, decisions: Decisions) -> dict[str, Tensor]:
        """The loss of policy and regressors.

        ``policy.graft``: the cross-entropy of the grafted network, times gamma where it is larger than the student's
        own and divided by gamma where it is smaller. ``policy.half``: by how many samples fewer than half of the batch
        take the teacher at the logits.

        Args:
            grafted: the result of the pass.
            y: [N] labels, or [N, classes] class probabilities.
            ce: the student's own cross-entropy, a scalar.
            decisions: of the batch.
        """
        loss = F.cross_entropy(grafted.logits, y)
        gamma = self.settings.graft_weight
        one = torch.ones_like(ce)
        factor = torch.where(loss.detach() > ce, gamma * one, torch.where(loss.detach() < ce, one / gamma, one))
        lacking = (len(y) / 2 - decisions.taken[:, -1].sum()).relu()
        return {"policy.graft": factor * loss, "policy.half": lacking}

    @property
    def _teacher_layout(self) -> FeatureLayout:
        assert self.models.teacher_layout is not None
        return self.models.teacher_layout

    def _gated_terms(self, by_method: Sequence[tuple[Spot, ...]]) -> tuple[GatedTerm, ...]:
        """The methods with their decisions, and the divergence of the logits where no method is it."""
        last = self.decision_count - 1
        terms = [
            GatedTerm(term, tuple(map(self.spots.index, spots)) or (last,))
            for term, spots in zip(self.methods, by_method, strict=True)
        ]
        if not any(isinstance(term.term, KD) for term in self.methods):
            kd = self.settings.kd
            reads = kd.reads(self.models.student_layout, self._teacher_layout)
            terms.append(GatedTerm(BoundTerm("kd", kd, self.settings.kd_weight, reads, nn.Module()), (last,)))
        return tuple(terms)

    def _fit_states(self) -> None:
        """Modules of the methods as the published code has them."""
        for term in self.methods:
            state = term.state
            if isinstance(state, FitNetState) and isinstance(state.regressor, ConvRegressor):
                student, teacher = self.models.infos(term.reads)
                assert teacher is not None
                state.regressor = MapRegressor(student.shapes[0], teacher.shapes[0]).to(self.parts.device)
            if isinstance(state, Embeddings) and self.learns:
                state.embed_teacher.requires_grad_(False)

    def _check_networks(self) -> None:
        assert self.parts.teacher is not None
        example = self.parts.example
        check_continues("student", self.student, example, [spot.student for spot in self.spots])
        check_continues("teacher", self.parts.teacher.model, example, [spot.teacher for spot in self.spots])

    def _starts_with_teacher(self, teacher: int, student: int) -> bool:
        """Whether nearly every sample takes the teacher at first: as published, for networks of one family whose last
        features have equal widths."""
        if self.settings.start != "auto":
            return self.settings.start == "teacher"
        assert self.parts.teacher is not None
        family = self.student.family
        return bool(family) and family == self.parts.teacher.model.family and teacher == student
