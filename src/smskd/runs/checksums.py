"""Checksums of JSON objects: a changed byte in a file of a run is noticed when it is read."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"
"""The key of the checksum in the object."""


def with_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its checksum as the last key.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot represent.
    """
    return {**value, CHECKSUM: _checksum(value)}


def verified(value: Any) -> dict[str, Any]:
    """The object without its checksum, which is compared.

    Raises:
        ValueError: there is no checksum, or it does not match; the message says which.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, not {type(value).__name__}")
    if CHECKSUM not in value:
        raise ValueError("its checksum is missing")
    content = {key: item for key, item in value.items() if key != CHECKSUM}
    if value[CHECKSUM] != _checksum(content):
        raise ValueError("its checksum does not match")
    return content


def _checksum(value: Mapping[str, Any]) -> str:
    """The first 64 bits of the SHA-256 of the object as JSON gives it back, hexadecimal."""
    plain = json.loads(json.dumps(dict(value), allow_nan=False))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
