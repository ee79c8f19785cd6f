"""The words of classes that are named by ids of WordNet, as the archives of ImageNet list them."""

import re
from collections.abc import Sequence
from pathlib import Path

_LISTS = ("words.txt", "LOC_synset_mapping.txt")
_ID = re.compile(r"n\d{8}")
_ENTRY = re.compile(r"(n\d{8})\s+(\S.*)")


def class_words(root: Path, class_names: Sequence[str]) -> dict[str, str]:
    """The words of each class whose name is an id, such as ``n01443537``.

    Args:
        root: folder of the data set; the words are read from ``words.txt`` or ``LOC_synset_mapping.txt`` in it.
        class_names: the classes.

    Returns:
        Empty where no list can be read, or no class is named by an id.
    """
    wanted = {name for name in class_names if _ID.fullmatch(name)}
    if not wanted:
        return {}
    found: dict[str, str] = {}
    for file in _LISTS:
        try:
            text = (root / file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        entries = (match for line in text.splitlines() if (match := _ENTRY.fullmatch(line.strip())))
        found |= {match[1]: match[2] for match in entries if match[1] in wanted}
    return found
