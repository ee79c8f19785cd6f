"""The optimizer and the learning rate over the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from smskd.config.base import Config, SettingError
from smskd.config.numbers import LARGEST_EPOCH, NonNegativeFloat, PositiveFloat, Real, Whole

_EXPECTED = "a number of epochs, such as 150, or a share of all epochs, such as 5/8"


def _epoch(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_EPOCH:
        return value
    try:
        share = Fraction(value) if isinstance(value, str) and "/" in value else None
    except (ValueError, ZeroDivisionError):
        share = None
    if share is None or not 0 < share <= 1:
        raise PydanticCustomError("epoch", _EXPECTED)
    return str(share)


Epoch = Annotated[int | str, BeforeValidator(_epoch)]
"""The number of an epoch, or a share of all epochs as a fraction: ``5/8``."""


def in_epochs(epoch: int | str, epochs: int) -> int:
    """The number of an epoch that may be a share of all epochs; a share is rounded, half to even."""
    return epoch if isinstance(epoch, int) else round(Fraction(epoch) * epochs)


@dataclass(frozen=True)
class OptimizerConfig(Config):
    """The optimizer.

    Attributes:
        name: ``sgd`` or ``adamw``.
        learning_rate: at the start of the schedule.
        momentum: of ``sgd``.
        nesterov: Nesterov momentum, of ``sgd``.
        weight_decay: L2 penalty of ``sgd``, decoupled weight decay of ``adamw``.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: PositiveFloat = 0.05
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.name == "sgd" and self.momentum == 0:
            raise SettingError("needs a momentum above 0", "nesterov")


@dataclass(frozen=True)
class ScheduleConfig(Config):
    """The learning rate over the epochs.

    Attributes:
        name: ``step`` multiplies the learning rate by ``decay_rate`` after each epoch of ``decay_at``; ``cosine`` lets
            it fall to zero at the end; ``constant`` keeps it.
        decay_at: epochs after which the rate changes, counted from 1, or shares of all epochs. The default is that of
            the published experiments: after epochs 150, 180 and 210 of 240.
        decay_rate: factor of a decay.
        warmup_epochs: epochs of linear rise at the start.
        learning_rate: replaces the optimizer's, in a stage with a schedule of its own.
    """

    name: Literal["step", "cosine", "constant"] = "step"
    decay_at: tuple[Epoch, ...] = ("5/8", "3/4", "7/8")
    decay_rate: Annotated[Real, Field(gt=0, le=1)] = 0.1
    warmup_epochs: Annotated[Whole, Field(ge=0, le=LARGEST_EPOCH)] = 0
    learning_rate: PositiveFloat | None = None

    @property
    def decay_epochs(self) -> tuple[int, ...]:
        """``decay_at`` once it is resolved to epochs."""
        return tuple(epoch for epoch in self.decay_at if isinstance(epoch, int))

    def resolve(self, epochs: int) -> Self:
        """The schedule with shares replaced by epochs; those that round to 0 and repetitions are left out."""
        decays: Sequence[int] = [in_epochs(epoch, epochs) for epoch in self.decay_at]
        return replace(self, decay_at=tuple(sorted({epoch for epoch in decays if epoch > 0})))
