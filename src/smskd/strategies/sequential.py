"""Sequential multi-stage distillation: one method a stage, in the order given."""

from collections.abc import Sequence

from smskd.recipe import MethodSpec, StageSpec


def stages(methods: Sequence[MethodSpec]) -> tuple[StageSpec, ...]:
    """A stage for each method; one of plain training for none."""
    return tuple(StageSpec(methods=(method,)) for method in methods) or (StageSpec(),)
