"""Runs of spot-adaptive distillation, and a network of a user's own that can be entered in the middle."""

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from smskd import ReferenceKL, StageConfig
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureModel
from smskd.methods.fitnet import FitNet
from smskd.objective.spots.objective import SpotAdaptiveObjective
from smskd.recipe import Recipe
from smskd.strategies.spot_adaptive import SpotAdaptive
from smskd.training.state import TrainingState
from tests.support import tiny

STAGES: list[tuple[StageConfig, tiny.Methods]] = [
    (StageConfig(ends_after=3), [FitNet(), "sp"]),
    (StageConfig(ends_after=5), [tiny.SMALL_CRD]),
]


class Cut(FeatureModel):
    """A network of a user's own that can be entered at its map."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, tiny.CLASSES)
        self.factor = factor

    @property
    def feature_names(self) -> tuple[str, ...]:
        return "stage1", "pooled"

    @property
    def classifier(self) -> nn.Linear:
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        return self.extract(x, (LOGITS,))[LOGITS]

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        stage = self.body(x)
        found = {"stage1": stage, **self._behind(stage)}
        return {name: found[name] for name in names}

    def continue_from(self, name: str, feature: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        if name == "pooled":
            return {LOGITS: self.head(feature)}
        found = self._behind(self.factor * feature)
        return {name: found[name] for name in names}

    def _behind(self, stage: Tensor) -> dict[str, Tensor]:
        pooled = stage.mean((2, 3))
        return {"pooled": pooled, LOGITS: self.head(pooled)}


def recipe(strategy: SpotAdaptive | None = None, **options: Any) -> Recipe:
    return tiny.recipe(STAGES, epochs=5, anchor=ReferenceKL(), strategy=strategy or SpotAdaptive(), **options)


def of_methods(*methods: Any, strategy: SpotAdaptive | None = None, **options: Any) -> Recipe:
    stages: list[tuple[StageConfig, tiny.Methods]] = [(StageConfig(), methods)]
    return tiny.recipe(stages, epochs=1, strategy=strategy or SpotAdaptive(), **options)


def begun(wanted: Recipe, **networks: Any) -> tuple[TrainingState, SpotAdaptiveObjective]:
    """At the start of the first stage."""
    state = TrainingState(tiny.built(wanted, **networks))
    state.begin_stage(0)
    assert isinstance(state.objective, SpotAdaptiveObjective)
    return state, state.objective


def batch() -> Batch:
    return next(iter(tiny.loader().epoch(1)))
