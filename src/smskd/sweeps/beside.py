"""How runs are trained beside each other. Nothing here imports torch."""

from collections.abc import Callable
from dataclasses import dataclass

from smskd.errors import UserError


@dataclass(frozen=True)
class Beside:
    """Runs are trained beside each other in one process.

    Attributes:
        most: at a time; None: as many as fit.
    """

    most: int | None = None

    def __str__(self) -> str:
        """The options of the command line."""
        return "--together" if self.most is None else f"--together --at-most {self.most}"


def as_option(name: str) -> str:
    """An option of the command line."""
    return f"--{name}"


def as_argument(name: str) -> str:
    """The same as an argument of a function."""
    return name.replace("-", "_")


def check_count(value: object, name: str) -> None:
    """Raises UserError where a number of runs or processes is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{name} is {value!r}; it has to be a whole number")
    if value < 1:
        raise UserError(f"{name} is {value}; it has to be 1 or more")


def beside_each_other(
    *, together: bool, at_most: int | None, workers: int = 1, named: Callable[[str], str] = as_option
) -> Beside | None:
    """What ``--together`` and ``--at-most`` say; None where runs are trained one after another.

    Args:
        together: whether they are trained beside each other.
        at_most: as many.
        workers: processes that train runs.
        named: gives the name of an option for messages.

    Raises:
        UserError: there is a number alone, or one that is too small, or there are several processes.
    """
    if at_most is not None and not together:
        raise UserError(f"{named('at-most')} needs {named('together')}")
    if at_most is not None:
        check_count(at_most, named("at-most"))
    if together and workers > 1:
        raise UserError(
            f"{named('together')} trains runs beside each other in one process; leave it or {named('workers')} out"
        )
    return Beside(at_most) if together else None
