"""The texts of a chart's specification, made harmless."""

from typing import Any

from smskd.analysis.visible import shortened, visible

LONGEST = 300
"""Characters of a text in a chart; tooltips show it in full, and axes and legends cut it where they must."""


def visible_strings(value: Any) -> Any:
    """A copy of nested lists and mappings in which each text is visible and no longer than ``LONGEST`` characters."""
    if isinstance(value, str):
        return shortened(visible(value), LONGEST)
    if isinstance(value, list):
        return [visible_strings(item) for item in value]
    if isinstance(value, dict):
        return {key: visible_strings(item) for key, item in value.items()}
    return value
