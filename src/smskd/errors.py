"""The one exception for a user's mistake, and how its message is worded."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake of the user, told in one line: what is wrong, where, what would be right.

    The command line prints the message and exits with code 2; the library raises it as it is.
    """


def nearest(word: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of the valid words, else the list of them all."""
    choices = sorted(valid)
    close = get_close_matches(word, choices, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; choose from {', '.join(choices)}"
