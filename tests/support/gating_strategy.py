"""A strategy with an objective of its own, as the file of a third party."""

from pathlib import Path

SOURCE = '''\
"""Spot-adaptive distillation in the manner of Song et al. (IEEE TIP 2022): a policy gates the methods per sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from smskd import Batch, Losses, Objective, ParameterGroup, StageConfig, StageParts, Strategy, Tap, WeightedSum
from smskd.objective.bound_term import all_taps
from smskd.objective.frozen_outputs import FrozenNetworks
from smskd.objective.tapped_features import read

LOGITS = Tap("logits")


class GatedObjective(Objective):
    """Cross-entropy, the methods' losses times the gate g in (0, 1) of each sample, and the anchor.

    The policy reads a map of the student. Its gate also routes: the teacher's later layers continue from
    g * f^s + (1 - g) * f^t, and the cross-entropy of their logits trains policy, adapter and student.
    """

    def __init__(self, parts: StageParts, feature: str, learning_rate: float) -> None:
        super().__init__()
        self.parts, self.tap, self.learning_rate = parts, Tap(feature), learning_rate
        self.bound = WeightedSum(parts)  # the methods and the anchor, with their modules
        reads = [term.reads for term in self.bound.terms]
        self.taps = all_taps(reads, "student") | {self.tap, LOGITS}
        teacher_taps = all_taps(reads, "teacher") | {self.tap}
        self.frozen = FrozenNetworks(
            parts.teacher, parts.reference, teacher_taps, all_taps(reads, "reference"), parts.cache, parts.clock
        )
        layouts = self.bound.models.student_layout, self.bound.models.teacher_layout
        student, teacher = (layout.features[feature][0] for layout in layouts)
        policy = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(student), nn.Linear(student, 1))
        own = {"policy": policy, "adapter": nn.Conv2d(student, teacher, 1)}
        self.own = nn.ModuleDict(own).to(parts.example.device)

    def forward(self, batch: Batch) -> Losses:
        student = read(self.parts.student, batch, self.taps)
        batch = batch if batch.outputs else replace(batch, outputs=self.precompute(batch))
        gate = self.own["policy"](student[self.tap]).sigmoid().squeeze(1)
        parts = {"ce": self.parts.ce_weight * F.cross_entropy(student[LOGITS], batch.y)}
        for term in self.bound.methods:
            losses = term.term.loss(term.inputs(batch, student), term.state).values()
            gated = [(gate * loss).mean() if loss.dim() else loss for loss in losses]
            parts[term.name] = term.weight * torch.stack(gated).sum()
        share = gate[:, None, None, None]
        mixed = share * self.own["adapter"](student[self.tap]) + (1 - share) * batch.outputs.teacher[self.tap]
        routed = self.parts.teacher.continue_from(self.tap.name, mixed, ("logits",))["logits"]
        parts["routed"] = F.cross_entropy(routed, batch.y)
        if self.bound.anchor is not None:
            parts |= self.bound.anchor.weighted_losses(self.bound.anchor.inputs(batch, student))
        return Losses(torch.stack(list(parts.values())).sum(), parts, student[LOGITS])

    def precompute(self, batch: Batch):
        return self.frozen.forward(batch)

    @property
    def sees_images_alone(self) -> bool:
        return self.frozen.sees_images_alone

    def parameter_groups(self) -> list[ParameterGroup]:
        policy, adapter = (tuple(self.own[name].parameters()) for name in ("policy", "adapter"))
        own = ParameterGroup(policy, learning_rate=self.learning_rate, weight_decay=0.0)
        return [*self.bound.parameter_groups(), ParameterGroup(adapter), own]

    @property
    def views(self) -> frozenset[str]:
        return self.bound.views

    @property
    def predictor(self):
        return self.bound.predictor

    @property
    def term_states(self) -> nn.ModuleList:
        return nn.ModuleList([*self.bound.term_states, self.own])

    @property
    def anchor_state(self) -> nn.Module | None:
        return self.bound.anchor_state


@dataclass(frozen=True)
class Gated(Strategy):
    """A stage for each method; the gate routes the given map, and the policy has a learning rate of its own."""

    feature: str = "stage3"
    learning_rate: float = 0.01

    def stages(self, methods: Sequence[object]) -> tuple[StageConfig, ...]:
        return tuple(StageConfig(methods=(method,)) for method in methods)

    def objective(self, parts: StageParts) -> Objective:
        return GatedObjective(parts, self.feature, self.learning_rate)
'''


def write(folder: Path, module: str) -> str:
    """Writes the file into a folder and returns the strategy's name in a recipe."""
    (folder / f"{module}.py").write_text(SOURCE, encoding="utf-8")
    return f"{module}:Gated"
