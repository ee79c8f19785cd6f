"""The contract of a strategy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from smskd.config.stage import StageConfig
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.objective import Objective
from smskd.interfaces.terms import Method, WeightedMethod
from smskd.objective.parts import StageParts
from smskd.objective.resolve_terms import published_ce_weight
from smskd.objective.weighted_sum import WeightedSum


class Strategy(ABC):
    """Turns methods into stages. A subclass is a frozen dataclass whose fields are its options in a recipe."""

    @abstractmethod
    def stages(self, methods: Sequence[Any]) -> tuple[StageConfig, ...]:
        """The stages for these methods.

        Args:
            methods: as in :attr:`StageConfig.methods`.
        """

    def objective(self, parts: StageParts) -> Objective:
        """The objective of a stage (default: the weighted sum of cross-entropy, methods and anchor).

        It is asked for at the start of each stage, and again where a run is resumed within it; everything that it
        learns or remembers has to be in :attr:`Objective.term_states`.
        """
        return WeightedSum(parts)

    def reads(self, methods: Sequence[Reads], student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """What its objective reads beside the terms of a stage, which the teacher's cache then holds too (default:
        nothing).

        Args:
            methods: what each method of the stage reads.
            student, teacher: what the networks offer.
        """
        return Reads()

    def weight(self, method: Method) -> float:
        """The weight of a method that a recipe gives none (default: the published one)."""
        return method.published_weight

    def ce_weight(self, methods: Sequence[WeightedMethod]) -> float:
        """The weight of the cross-entropy of a stage that gives none (default: the published one of a single method,
        1 beside none or several)."""
        return published_ce_weight(methods)
