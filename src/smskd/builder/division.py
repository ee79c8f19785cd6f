"""Whether the batches of a run can be divided as its settings say."""

from smskd.errors import UserError
from smskd.strategies.resolved import ResolvedRecipe


def check_division(recipe: ResolvedRecipe, processes: int) -> None:
    """Checks that pieces of a batch, where there are any, have the same size.

    Args:
        recipe: of the run.
        processes: that train it together.

    Raises:
        UserError: a batch size cannot be divided.
    """
    accumulate = recipe.training.accumulate
    together = recipe.runtime.gather == "global" and accumulate == 1
    pieces = accumulate * (1 if together else processes)
    for size in sorted({stage.batch_size for stage in recipe.stages}):
        if size % pieces or (pieces > 1 and size < 2 * pieces):
            key = "runtime.gather=local" if accumulate == 1 else "training.accumulate"
            of = f" of {processes} processes" if processes > 1 else ""
            raise UserError(
                f"{key}: batches of {size} do not make {pieces} pieces{of} of the same size, of 2 or more samples; "
                f"take a batch size that is a multiple of {pieces}"
            )
