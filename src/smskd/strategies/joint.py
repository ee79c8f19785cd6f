"""Direct loss aggregation: all the methods at once, in one stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smskd.config.stage import StageConfig
from smskd.strategies.base import Strategy


@dataclass(frozen=True)
class Joint(Strategy):
    """One stage with all the methods."""

    def stages(self, methods: Sequence[Any]) -> tuple[StageConfig, ...]:
        """One stage with all the methods."""
        return (StageConfig(methods=tuple(methods)),)
