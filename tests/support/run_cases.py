"""Runs with every kind of state that a checkpoint has to hold."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from smskd.anchors.ewc import EWC
from smskd.anchors.l2_sp import L2SP
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.stage import StageConfig
from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, Reads
from smskd.interfaces.terms import Anchor, DataInfo, Kind, Method, Pretraining, TermInputs, WeightedMethod
from smskd.methods.ft import FT
from smskd.models import adapt
from smskd.training.config import RunConfig
from tests.support import tiny

HELD_OUT = 20
STEPS = (tiny.TRAIN - HELD_OUT) // tiny.BATCH
"""Of an epoch, in runs with a validation split."""


def three_stages() -> RunConfig:
    """FitNets, CRD and KD with an anchor, and other choices of what is carried and frozen at each boundary."""
    stages = [
        (StageConfig(ends_after=2, carry="best", reference="ema", ema_decay=0.7), ["fitnet"]),
        (StageConfig(ends_after=4, carry="ema", reference="best"), [tiny.SMALL_CRD]),
        (StageConfig(ends_after=6, carry="ema"), ["kd"]),
    ]
    return tiny.built(tiny.recipe(stages, epochs=6, anchor=ReferenceKL(), validation=HELD_OUT))


def other_choices() -> RunConfig:
    """A network of the user's with dropout, AdamW, a warm-up, two methods at once, a reset, a batch size of its own, a
    checkpoint every other epoch, and stages that go beyond the epochs of the run."""
    own = ScheduleConfig(name="cosine", warmup_epochs=1)
    stages = [
        (StageConfig(ends_after=3, reference="best"), ["sp", tiny.SMALL_CRD]),
        (StageConfig(epochs=1, optimizer_state="reset", schedule=own, batch_size=10), ["vid", "at"]),
        (StageConfig(ends_after=6, carry="best"), []),
    ]
    wanted = tiny.recipe(
        stages,
        epochs=5,
        anchor=ReferenceKL(tcp_from="teacher"),
        optimizer=OptimizerConfig(name="adamw", learning_rate=0.004),
        validation=HELD_OUT,
        checkpoint_every=2,
    )
    return tiny.built(wanted, learner=noisy_student())


def pretraining_phases() -> RunConfig:
    """Two phases before the first and before the second stage, and the average kept over both."""
    methods = [WeightedMethod("one", Pretrained(1), 0.1), WeightedMethod("two", Pretrained(2), 0.1)]
    stages = [
        (StageConfig(ends_after=2, carry="ema", reference="ema"), methods),
        (StageConfig(carry="ema"), methods),
    ]
    return tiny.built(tiny.recipe(stages, epochs=4, anchor=ReferenceKL()))


def ft() -> RunConfig:
    """A paraphraser that is trained before each stage and frozen in it."""
    method = WeightedMethod("ft", FT(init_epochs=1), 10.0)
    return tiny.built(tiny.recipe([(StageConfig(ends_after=1), [method]), (StageConfig(), [method, "kd"])], epochs=3))


def simkd() -> RunConfig:
    """A head that replaces the student's own in the second stage, and stays."""
    stages: list[Any] = [
        (StageConfig(ends_after=1), ["kd"]),
        (StageConfig(ends_after=2, reference="ema"), ["simkd"]),
        (StageConfig(), ["fitnet"]),
    ]
    return tiny.built(tiny.recipe(stages, epochs=4, anchor=ReferenceKL()))


def ewc() -> RunConfig:
    """Fisher information that goes on from stage to stage."""
    return _three_short_stages(EWC(samples=10, fisher="sampled", decay=0.5))


def l2_sp() -> RunConfig:
    """The initial weights as the reference of the first stage."""
    return _three_short_stages(L2SP(weight=5.0))


def _three_short_stages(anchor: Anchor) -> RunConfig:
    stages = [(StageConfig(ends_after=end), [name]) for end, name in ((2, "fitnet"), (3, "kd"), (4, "sp"))]
    return tiny.built(tiny.recipe(stages, epochs=4, anchor=anchor))


@dataclass(frozen=True)
class Pretrained(Method):
    """A method with a layer that is initialised before the stage, together with the student."""

    epochs: int = 2

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",), ("logits",))

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        assert teacher is not None
        return nn.Linear(student.classes, teacher.classes)

    def pretraining(self, student: ModelInfo) -> Pretraining:
        return Pretraining(self.epochs, trains_student=True)

    def pretraining_loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return self.loss(inputs, state)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"difference": (state(inputs.student.logits) - inputs.teacher.logits).square().mean(dim=1)}


def noisy_student(seed: int = 1) -> FeatureModel:
    """A network that is not of the zoo, with dropout."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, tiny.CLASSES),
    )
    return adapt(layers, tiny.EXAMPLE)
