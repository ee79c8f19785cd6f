"""Labels of configurations: their names, and where several have one name, the keys in which they differ."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Configuration = tuple[str, Mapping[str, Any]]
"""The name of a recipe, and everything that determines its runs but the seed."""

_CAUSES = {
    "fingerprints.train": r"data\.",
    "fingerprints.test": r"data\.",
    "fingerprints.validation": r"data\.",
    "fingerprints.augmentation": r"data\.",
    "fingerprints.student": r"student\.",
    "fingerprints.teacher": r"(stages\.\d+\.)?teacher\.",
}
"""The beginnings of fingerprints' keys, and the keys from which their differences follow."""

_WORDS = {
    "fingerprints.train": "training images",
    "fingerprints.test": "test images",
    "fingerprints.validation": "validation images",
    "fingerprints.student_structure": "student structure",
    "fingerprints.student": "initial weights",
    "fingerprints.teacher": "teacher weights",
}

_LONGEST = 40
"""Characters of a value; a longer one is cut."""

_MISSING = object()


def unique_labels(configurations: Sequence[Configuration]) -> list[str]:
    """A label for each configuration, all of them different: ``plain · optimizer.learning_rate=1e-05``.

    Keys that follow from others are left out as long as the labels stay different: the options of another method or
    data set, the fingerprints of other data.

    Args:
        configurations: all that are shown together, each of them once.
    """
    by_name: dict[str, list[int]] = {}
    for position, (name, _) in enumerate(configurations):
        by_name.setdefault(name, []).append(position)
    found = [name for name, _ in configurations]
    for name, positions in by_name.items():
        if len(positions) > 1:
            facts = [configurations[position][1] for position in positions]
            for position, text in zip(positions, _differences(facts), strict=True):
                found[position] = f"{name} · {text}" if text else name
    return _numbered(found)


def _differences(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for each in facts for key in each)
    differing = [key for key in keys if len({_exact(each.get(key, _MISSING)) for each in facts}) > 1]
    shown = [key for key in differing if not _follows(key, differing)]
    texts = _texts(shown, facts)
    for key in differing:
        if len(set(texts)) == len(texts):
            break
        more = _texts([*shown, key], facts)
        if len(set(more)) > len(set(texts)):
            shown, texts = [*shown, key], more
    return texts


def _follows(key: str, differing: Sequence[str]) -> bool:
    """Whether the difference in this key follows from that in another one."""
    if "methods" in differing and (key == "strategy.name" or key.startswith("stages.")):
        return True
    if key.startswith("fingerprints."):
        cause = next((cause for start, cause in _CAUSES.items() if key.startswith(start)), r"(?!fingerprints\.)")
        return any(re.match(cause, other) for other in differing)
    # `data.source.test_samples` follows from `data.source.name`, and `stages.1.anchor` from `stages.1.anchor.name`.
    parts = key.split(".")
    names = {f"{'.'.join(parts[:count])}.name" for count in range(1, len(parts) + 1)} - {key}
    return any(name in differing for name in names)


def _texts(keys: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        ", ".join(f"{_WORDS.get(key, key)}={_shown(each.get(key, _MISSING), key)}" for key in keys) for each in facts
    ]


def _shown(value: Any, key: str) -> str:
    if value is _MISSING:
        return "–"
    if key.startswith("fingerprints."):
        return hashlib.sha256(str(value).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _exact(value: Any) -> str:
    return "" if value is _MISSING else json.dumps(value, sort_keys=True)


def _numbered(labels: Sequence[str]) -> list[str]:
    """The labels, with numbers where some are equal: values that differ only where they are cut."""
    counts, seen = Counter(labels), Counter[str]()
    found = []
    for label in labels:
        seen[label] += 1
        found.append(f"{label} #{seen[label]}" if counts[label] > 1 else label)
    return found
