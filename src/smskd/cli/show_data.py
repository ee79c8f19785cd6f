"""`smskd data`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from smskd.analysis.format import memory
from smskd.cli.data_facts import data_facts
from smskd.cli.printing import console, print_footnote, print_pairs, print_title
from smskd.cli.show_texts import print_texts
from smskd.config.data import DataConfig

FEW_CLASSES = 20
"""So many are listed without being asked for."""

_MOST_SIZES = 6

Facts = Mapping[str, Any]


def print_data(config: DataConfig, *, all_classes: bool, as_json: bool) -> None:
    """Loads the data of a recipe and prints what they are.

    Args:
        config: the settings.
        all_classes: list every class, however many there are.
        as_json: as JSON, and nothing else.

    Raises:
        UserError: a fault in the settings or in the data.
    """
    facts = data_facts(config, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    if "tokenizers" in facts:
        print_texts(facts, all_classes=all_classes)
        return
    parts = facts["parts"]
    total = sum(part["images"] for part in parts.values())
    print_title(f"{facts['source']['name']}: {_images(total)} of {facts['classes']:,} classes")
    print_pairs(*_whole(facts))
    print_title("\nparts")
    _print_parts(parts, facts["origins"])
    print_title("\nclasses")
    if all_classes or facts["classes"] <= FEW_CLASSES:
        _print_classes(facts)
    else:
        _print_some_classes(facts)
    print_title("\nduplicates: images with the same pixels")
    print_pairs(*_duplicates(facts))
    unusual = _unusual(facts)
    if unusual:
        print_title("\nunusual images")
        print_pairs(*unusual)
    for line in _notes(facts):
        print_footnote(line)


def _whole(facts: Facts) -> Iterable[tuple[str, str]]:
    """Facts of all parts together."""
    options = {key: value for key, value in facts["source"].items() if key != "name"}
    if options:
        yield "options", ", ".join(f"{key}: {value}" for key, value in options.items())
    parts = facts["parts"]
    sizes, files = _summed(part["sizes"] for part in parts.values()), facts["files"]
    yield "size", _sizes(sizes)
    if files is not None and files["sizes"].keys() != sizes.keys():
        yield "size of files", _sizes(files["sizes"])
    yield "channels", _counted(_summed(part["channels"] for part in parts.values()))
    used, measured = _statistics(facts["normalisation"]), _statistics(facts["measured"])
    if used is not None:
        yield "normalised by", used
    if measured not in (None, used):
        yield "measured", f"{measured} (training images)"
    needed = memory(sum(part["memory"] for part in parts.values()))
    streamed = any(part["streamed"] for part in parts.values())
    yield "memory", f"about {needed} if it were loaded" if streamed else f"{needed} loaded"


def _print_parts(parts: Facts, origins: Facts) -> None:
    table = Table("  part", "images", "by class", "from", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.columns[1].justify = "right"
    table.columns[3].overflow = "fold"
    for name, part in parts.items():
        table.add_row(*map(escape, (f"  {name}", f"{part['images']:,}", _range(part), origins.get(name, ""))))
    console.print(table, highlight=False)


def _range(part: Facts) -> str:
    """The smallest and the largest class."""
    smallest, largest = min(part["class_counts"]), max(part["class_counts"])
    counts = f"{smallest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
    return counts if part["counted"] == part["images"] else f"{counts} of {part['counted']:,}"


def _print_classes(facts: Facts) -> None:
    table = Table("  class", *facts["parts"], box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for label in range(facts["classes"]):
        counts = (f"{part['class_counts'][label]:,}" for part in facts["parts"].values())
        table.add_row(f"  {escape(_class(facts, label))}", *counts)
    console.print(table, highlight=False)


def _print_some_classes(facts: Facts) -> None:
    rows = []
    for name, part in facts["parts"].items():
        order = sorted(range(facts["classes"]), key=lambda label: part["class_counts"][label])
        for kind, label in (("smallest", order[0]), ("largest", order[-1])):
            rows.append((f"{kind} of {name}", f"{_class(facts, label)}: {part['class_counts'][label]:,}"))
    first = [_class(facts, label) for label in range(3)]
    rows.append(("names", f"{', '.join(first)}, ..., {_class(facts, facts['classes'] - 1)} (all: --classes)"))
    print_pairs(*rows)


def _class(facts: Facts, label: int) -> str:
    name = facts["class_names"][label]
    words = facts["class_words"].get(name)
    return f"{name} ({words})" if words else str(name)


def _duplicates(facts: Facts) -> Iterable[tuple[str, str]]:
    equal, parts = facts["duplicates"], facts["parts"]
    for name, count in equal["within"].items():
        yield f"within {name}", f"{count:,} of {_examined(parts[name])} repeat another"
    for shared in equal["between"]:
        part, other = shared["part"], shared["other"]
        among = "" if parts[part]["examined"] == parts[part]["images"] else f"the {_examined(parts[part])} of "
        yield f"{part}, {other}", f"{shared['images']:,} of {_examined(parts[other])} of {other} are in {among}{part}"
    yield "two labels", f"{_images(equal['two_labels'])} with more than one label"
    for label, key in (("for example", "examples"), ("two labels in", "two_labels_examples")):
        for group in equal[key]:
            yield label, " = ".join(map(_place, group))


def _place(place: Facts) -> str:
    where = place["file"] or f"{place['part']} {place['row']}"
    return f"{where} ({place['class']})"


def _unusual(facts: Facts) -> list[tuple[str, str]]:
    parts, files = facts["parts"].values(), facts["files"]
    examined = sum(part["examined"] for part in parts)
    found = [
        ("three equal channels", sum(part["grayscale"] for part in parts)),
        ("of one colour", sum(part["blank"] for part in parts)),
    ]
    rows = [(kind, f"{count:,} of {examined:,} images") for kind, count in found if count]
    if files is not None:
        for kind, count in files["odd"].items():
            rows.append((f"files: {kind}", f"{count:,} of {files['examined']:,}, first {files['examples'][kind]}"))
    return rows


def _notes(facts: Facts) -> Iterable[str]:
    if facts["needs_image_size"]:
        yield "The images have several sizes: training needs data.source.image_size=[HEIGHT,WIDTH]"
    parts, files = facts["parts"].values(), facts["files"]
    if any(part["examined"] < part["images"] for part in parts):
        yield f"Only {sum(part['examined'] for part in parts):,} images, evenly spread, were examined"
    if files is not None and files["examined"] < files["files"]:
        yield f"Only {files['examined']:,} of {files['files']:,} files, evenly spread, were examined"


def _examined(part: Facts) -> str:
    return _images(part["examined"]) + ("" if part["examined"] == part["images"] else " examined")


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _summed(counts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    total: dict[Any, int] = {}
    for part in counts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def _sizes(sizes: Mapping[str, int]) -> str:
    """The only size, or the most frequent ones."""
    text = _counted(dict(list(sizes.items())[:_MOST_SIZES]), alone=len(sizes) == 1)
    return text if len(sizes) <= _MOST_SIZES else f"{text} and {len(sizes) - _MOST_SIZES:,} other sizes"


def _counted(counts: Mapping[Any, int], *, alone: bool | None = None) -> str:
    if len(counts) == 1 and alone is not False:
        return str(next(iter(counts)))
    return ", ".join(f"{key} ({_images(count)})" for key, count in counts.items())


def _statistics(values: Mapping[str, Sequence[float]] | None) -> str | None:
    return None if values is None else f"mean {_numbers(values['mean'])}, std {_numbers(values['std'])}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
