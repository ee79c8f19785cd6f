"""Numbers in settings: finite, no booleans, and no larger than could be meant."""

from typing import Annotated, Any

from pydantic import AllowInfNan, BeforeValidator, Field
from pydantic_core import PydanticCustomError

LARGEST_COUNT = 10**9
"""Of images."""

LARGEST_EPOCH = 10**6

_SEEDS = 2**63


def _no_boolean(value: Any) -> Any:
    """Refuses ``true``, which pydantic takes for 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "a number")
    return value


def is_boolean_as_number(given: Any, read: Any) -> bool:
    """Whether a value that is ``true`` or ``false`` was read as a number, which pydantic does."""
    return isinstance(given, bool) and isinstance(read, int | float) and read is not given


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Real = Annotated[float, AllowInfNan(False), BeforeValidator(_no_boolean)]

PositiveFloat = Annotated[Real, Field(gt=0)]
NonNegativeFloat = Annotated[Real, Field(ge=0)]

Count = Annotated[Whole, Field(gt=0, le=LARGEST_COUNT)]
"""How many of something: 1 or more."""

Epochs = Annotated[Whole, Field(gt=0, le=LARGEST_EPOCH)]
"""A number of epochs: 1 or more."""

Seed = Annotated[Whole, Field(ge=-_SEEDS, lt=_SEEDS)]
"""Of a draw: a whole number of 64 bits."""
