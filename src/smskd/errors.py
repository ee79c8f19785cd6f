"""The one exception for a user's mistake, and how its message is worded."""

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches

_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # ends of lines, changes of the direction of writing
    "\ud800-\udfff\ufffe\uffff]"  # no characters
)

LARGEST_COUNT = 10**6
"""Of hyper-parameters that are counts, dimensions or epochs; more is a slip and would take all memory or time."""

MOST_CHOICES = 40
"""Names that a message lists."""


class UserError(Exception):
    """A mistake of the user, told in one line: what is wrong, where, what would be right.

    The command line prints the message and exits with code 2; the library raises it as it is.
    """


def printable(text: str, keep: str = "") -> str:
    """A text in which characters that a terminal or an editor would obey instead of showing are escaped: ``\\x1b``.

    Args:
        text: anything, such as a name that a file contains.
        keep: characters that are not escaped, such as the end of a line.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def nearest(word: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of the valid words, else the list of them all."""
    choices = sorted(valid)
    close = get_close_matches(word, choices, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    more = len(choices) - MOST_CHOICES
    return f"; choose from {', '.join(choices[:MOST_CHOICES])}{f' and {more} others' if more > 0 else ''}"


def not_installed(package: str, extra: str, error: ImportError) -> UserError:
    """The error of a package that cannot be imported, with the line that installs it.

    Args:
        package: its name.
        extra: of smskd, which brings it.
        error: why it cannot be imported.
    """
    reason = str(error).partition("\n")[0]
    return UserError(f"{package} cannot be imported ({reason}); install it with: pip install 'smskd[{extra}]'")


def require_positive(**values: float) -> None:
    """Refuses a hyper-parameter that is not a finite number above zero.

    Raises:
        UserError: `temperature must be positive, not -1`.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UserError(f"{name} must be positive, not {value}")


def require_between(low: float, high: float, **values: float) -> None:
    """Refuses a hyper-parameter outside of [low, high]; ``high`` may be infinite, a value may not.

    Raises:
        UserError: `momentum must be between 0 and 1, not 2`; `distance_weight must be 0 or more, not -1`.
    """
    for name, value in values.items():
        if not (low <= value <= high and math.isfinite(value)):
            wanted = f"{low} or more" if high == math.inf else f"between {low} and {high}"
            raise UserError(f"{name} must be {wanted}, not {value}")


def require_count(least: int = 1, /, **values: int) -> None:
    """Refuses a hyper-parameter that is not a whole number from ``least`` to a million.

    Raises:
        UserError: `negatives must be a whole number of 1 or more, not 0`; `feature_dim must be at most 1000000, not
            10000000`.
    """
    for name, value in values.items():
        if not isinstance(value, int) or value < least:
            raise UserError(f"{name} must be a whole number of {least} or more, not {value}")
        if value > LARGEST_COUNT:
            raise UserError(f"{name} must be at most {LARGEST_COUNT}, not {value}")
