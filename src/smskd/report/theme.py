"""The theme of all charts, light and dark.

The colours are distinct (CIE76 distance above 13) for normal, protanopic and deuteranopic vision, and each has a
contrast of at least 3 to the background; lines also differ in their dashes.
"""

from typing import Any

INK, MUTED, RULE, GRID = "#1b1f24", "#59616c", "#8d95a0", "#e7e9ec"
BLUE, ORANGE, PLUM, GREEN, OLIVE, SKY = "#2166ac", "#d97706", "#8b1e5b", "#1b9e77", "#665c00", "#3f9ad8"
GREY = "#737b87"
ON_DEEP, ON_BRIGHT = "#fefefe", "#15181c"
"""Text on a deep colour of the light theme (blue, plum, olive, grey) and on a bright one."""
PALE, GROUND = "#e4edf6", "#fffffe"
"""The lowest value of a shade whose highest is blue; the ground of the page, as a gap between coloured areas."""
PALETTE = (BLUE, ORANGE, PLUM, GREEN, OLIVE, SKY)
DASHES = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 3])

DARK = {
    INK: "#e8eaed",
    MUTED: "#a3abb7",
    RULE: "#6b7480",
    GRID: "#2a2e35",
    BLUE: "#5aa2ee",
    ORANGE: "#ef8f3c",
    PLUM: "#d0489f",
    GREEN: "#63d6ae",
    OLIVE: "#f0e27a",
    SKY: "#b8e6ff",
    GREY: "#a9b1bd",
    ON_DEEP: "#14161a",
    ON_BRIGHT: "#14161b",
    PALE: "#1b2d45",
    GROUND: "#15171c",
}
"""The dark colour for each light one. Charts are specified in light colours; the page replaces them."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"


def config(*, long_names: bool = False) -> dict[str, Any]:
    """The Vega-Lite configuration of all charts.

    Args:
        long_names: whether labels of the vertical axis and of the legend have more space.
    """
    legend = {"labelLimit": 320, "columns": 2} if long_names else {}
    label = {"labelColor": MUTED, "labelFontSize": 12, "labelFontWeight": "normal"}
    title = {"titleColor": MUTED, "titleFontSize": 12, "titleFontWeight": "normal"}
    return {
        "background": "transparent",
        "font": FONT,
        "padding": 4,
        "view": {"stroke": "transparent"},
        "title": {"anchor": "start", "color": INK, "fontSize": 15, "fontWeight": 600, "offset": 12},
        "axis": {
            **label,
            **title,
            "domainColor": RULE,
            "tickColor": RULE,
            "gridColor": GRID,
            "titlePadding": 8,
            "labelPadding": 5,
        },
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False, "labelLimit": 320 if long_names else 220},
        "header": {**label, "labelColor": INK, "titleColor": MUTED},
        "legend": {**label, "orient": "bottom", "title": None, "symbolStrokeWidth": 2.5, "columnPadding": 18, **legend},
        "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
        "text": {"font": FONT, "fontSize": 12, "color": MUTED},
        "rule": {"color": RULE},
    }


def colours(length: int) -> list[str]:
    """The first ``length`` colours of the palette, repeated where necessary."""
    return [PALETTE[i % len(PALETTE)] for i in range(length)]


def dashes(length: int) -> list[list[int]]:
    """The dash patterns of ``length`` lines; lines of equal colour have different ones."""
    return [DASHES[(i + i // len(PALETTE)) % len(DASHES)] for i in range(length)]


def light(colour: str) -> str:
    """The colour itself; the counterpart of :func:`dark`."""
    return colour


def dark(colour: str) -> str:
    """The counterpart of a light colour in the dark theme."""
    return DARK[colour]
