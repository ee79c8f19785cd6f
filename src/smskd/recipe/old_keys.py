"""Keys and values of the first edition of the recipe: an error names their replacements."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from smskd.config.messages import shown
from smskd.errors import UserError

_RUNTIME = ("seed", "device", "precision", "compile", "tf32", "checkpoint_every")
_TRAINING = ("epochs", "batch_size", "test_batch_size")
_SOURCE = ("name", "root", "download", "image_column", "label_column", "image_size", "channels")
_ANCHOR = {"source": "tcp_from", "form": "tcp", "direction": "kl"}
_ANCHOR_NAME = "reference_kl"

_KEYS = {
    **{key: f"training.{key}" for key in _TRAINING},
    **{key: f"runtime.{key}" for key in _RUNTIME},
    **{f"data.{key}": f"data.source.{key}" for key in _SOURCE},
    "data.train_limit": "data.subset.train",
    "data.test_limit": "data.subset.test",
    "data.limit_seed": "data.subset.seed",
    "data.padding": "data.augmentation.padding",
    "data.flip": "data.augmentation.flip",
    "student.model": "student.name",
    "teacher.model": "teacher.name",
    "teacher.cache_folder": "teacher.cache.folder",
    "teacher.cache_limit": "teacher.cache.limit",
    "schedule.decay_epochs": "schedule.decay_at",
    "stages.N.until": "stages.N.ends_after",
    "stages.N.class_weight": "stages.N.ce_weight",
    "stages.N.average_decay": "stages.N.ema_decay",
    "stages.N.schedule.decay_epochs": "stages.N.schedule.decay_at",
}
"""The key that replaces each old key; N is the index of a stage."""

_TEXTS = {
    "teacher.cache": "teacher.cache.mode",
    "stages.N.optimizer": "stages.N.optimizer_state",
}
"""Keys that were texts and are mappings now, and the key of the text."""

_VALUES = {
    ("anchor.name", "true_class"): _ANCHOR_NAME,
    ("stages.N.anchor.name", "true_class"): _ANCHOR_NAME,
    ("anchor.tcp", "uniform"): "none",
    ("stages.N.anchor.tcp", "uniform"): "none",
    ("stages.N.carry", "average"): "ema",
    ("stages.N.reference", "average"): "ema",
}
"""The value that replaces an old one."""

_INDEX = re.compile(r"(?<=\.)\d+(?=\.|$)")


def check_old_keys(raw: Mapping[str, Any]) -> None:
    """Checks a recipe for keys and values of the first edition.

    Args:
        raw: the mapping, with its shorthands expanded.

    Raises:
        UserError: there is one; the message has the key or value that replaces it.
    """
    for path, value in _entries(raw):
        new = _replacement(path, _KEYS) or _anchor_key(path, raw)
        if new is not None:
            raise UserError(f"{path}: unknown key; it is now {new}")
        new = _replacement(path, _TEXTS) if isinstance(value, str) else None
        if new is not None:
            raise UserError(f"{path}: must be a mapping, not {shown(value)}; that is now {new}")
        new = _VALUES.get((_pattern(path), value)) if isinstance(value, str) else None
        if new is not None:
            raise UserError(f"{path}: '{value}' is now '{new}'")


def _entries(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of nested mappings and lists by their paths, a mapping before its entries."""
    if path:
        yield path, value
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from _entries(item, f"{path}.{key}" if path else str(key))


def _pattern(path: str) -> str:
    return _INDEX.sub("N", path)


def _replacement(path: str, replacements: Mapping[str, str]) -> str | None:
    new = replacements.get(_pattern(path))
    index = _INDEX.search(path)
    return new if new is None or index is None else re.sub(r"\bN\b", index[0], new)


def _anchor_key(path: str, raw: Mapping[str, Any]) -> str | None:
    """The replacement of an old key of the anchor ``reference_kl``; other anchors may have keys of these names."""
    where, _, key = path.rpartition(".")
    if key not in _ANCHOR or _pattern(where) not in ("anchor", "stages.N.anchor"):
        return None
    anchor: Any = raw
    for part in where.split("."):
        anchor = anchor[int(part)] if isinstance(anchor, list) else anchor[part]
    is_reference_kl = anchor.get("name", _ANCHOR_NAME) in (_ANCHOR_NAME, "true_class")
    return f"{where}.{_ANCHOR[key]}" if is_reference_kl else None
