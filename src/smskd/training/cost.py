"""The cost of a stage's steps: time by part, memory, and what was compiled or replayed."""

from dataclasses import asdict
from typing import Any

from smskd.objective.weighted_sum import WeightedSum
from smskd.training.host import peak_memory
from smskd.training.step import Step
from smskd.turns import current


def stage_cost(step: Step) -> dict[str, Any] | None:
    """The cost as a summary has it; None where no step was timed."""
    cost = step.clock.cost()
    if cost is None:
        return None
    return {
        **asdict(cost),
        # Beside other runs there is only the memory of all of them.
        "peak_memory_bytes": peak_memory(step.device) if current() is None else None,
        "compiled": _compiled(step),
        "replayed": step.replays,
    }


def _compiled(step: Step) -> list[str]:
    """The networks whose outputs a compiled program computes."""
    if not isinstance(step.objective, WeightedSum):
        return []
    parts = step.objective.parts
    networks = {"student": parts.extractor, "teacher": parts.teacher, "reference": parts.reference}
    return [name for name, network in networks.items() if getattr(network, "compiled", False)]
