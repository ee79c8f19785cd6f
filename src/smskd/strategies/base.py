"""The contract of a strategy."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from smskd.config.stage import StageConfig
from smskd.interfaces.objective import Objective
from smskd.objective.parts import StageParts
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
