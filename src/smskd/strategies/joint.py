"""Direct loss aggregation: all the methods at once, in one stage."""

from collections.abc import Sequence

from smskd.recipe import MethodSpec, StageSpec


def stages(methods: Sequence[MethodSpec]) -> tuple[StageSpec, ...]:
    """One stage with all the methods."""
    return (StageSpec(methods=tuple(methods)),)
