"""The valid keys at a place of a recipe, to suggest one for an unknown key."""

from difflib import get_close_matches

from smskd.errors import nearest
from smskd.recipe.key_types import keys_at


def suggestion(location: tuple[int | str, ...]) -> str:
    """``; did you mean 'decay_at'?`` for the nearest valid key, otherwise the list of valid keys.

    A key at the top level is also compared with those of the groups: ``momentum`` suggests ``optimizer.momentum``.

    Args:
        location: of the unknown key: keys and indices.
    """
    word, group = str(location[-1]), location[:-1]
    valid = keys_at(group) or keys_at(()) or []
    if not group and not get_close_matches(word, valid, n=1):
        grouped = {key: f"{name}.{key}" for name in reversed(valid) for key in keys_at((name,)) or []}
        close = get_close_matches(word, grouped, n=1)
        if close:
            return f"; did you mean '{grouped[close[0]]}'?"
    return nearest(word, valid)
