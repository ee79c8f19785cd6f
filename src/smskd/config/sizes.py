"""Sizes in bytes as people write them: `16GB`, `500 MB`, `2e9`."""

import re

from smskd.errors import UserError

_UNITS = ("", "k", "m", "g", "t")
_SIZE = re.compile(r"\s*(\d+\.?\d*(?:e\d+)?|\.\d+)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE)

_LONGEST, _LARGEST = 40, 2.0**63
"""Characters of a size, and bytes."""

EXPECTED = "a size in bytes, such as 500MB or 16GB"


def in_bytes(size: str | int) -> int:
    """A size in bytes; 1 kB are 1000 of them, 1 KiB 1024.

    Raises:
        UserError: it is no size.
    """
    match = _SIZE.fullmatch(str(size)) if isinstance(size, int) or len(size) <= _LONGEST else None
    if match is None:
        raise UserError(f"'{size}' must be {EXPECTED}")
    number, unit, binary = match.groups()
    power = _UNITS.index((unit or "").lower())
    found = float(number) * float(1024 if binary else 1000) ** power
    if not found < _LARGEST:
        raise UserError(f"'{size}' must be {EXPECTED}")
    return round(found)


def in_words(size: float) -> str:
    """A size with a unit: `1.7 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
