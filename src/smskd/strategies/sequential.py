"""Sequential multi-stage distillation (SMSKD, arXiv 2601.15657): one method a stage, in the order given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smskd.config.stage import StageConfig
from smskd.strategies.base import Strategy


@dataclass(frozen=True)
class Sequential(Strategy):
    """One stage for each method, in the order given."""

    def stages(self, methods: Sequence[Any]) -> tuple[StageConfig, ...]:
        """A stage for each method; one of plain training for none."""
        return tuple(StageConfig(methods=(method,)) for method in methods) or (StageConfig(),)
