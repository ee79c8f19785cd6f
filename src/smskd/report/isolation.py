"""Names in scripts that are written from the right, within sentences that are written from the left."""

import unicodedata

from markupsafe import Markup, escape

from smskd.analysis.visible import visible

_FROM_THE_RIGHT = {"R", "AL", "AN"}


def isolated(text: str) -> Markup:
    """The text as HTML that does not change the order of the words around it."""
    shown = visible(text)
    if any(unicodedata.bidirectional(character) in _FROM_THE_RIGHT for character in shown):
        return Markup("<bdi>{}</bdi>").format(shown)
    return escape(shown)
