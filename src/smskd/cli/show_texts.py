"""`smskd data` for a data set of texts."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from smskd.analysis.format import memory
from smskd.cli.printing import console, print_footnote, print_pairs, print_title
from smskd.config.data import DataConfig
from smskd.data import TextDataset
from smskd.data.origins import origins
from smskd.data.sources.tokenized import MAX_LENGTH
from smskd.data.text_description import describe_texts

FEW_CLASSES = 20

Facts = Mapping[str, Any]


def text_facts(config: DataConfig, dataset: TextDataset) -> dict[str, Any]:
    """The facts of a data set of texts, as JSON has them.

    Args:
        config: its settings.
        dataset: that has been loaded.
    """
    return {
        "source": {"name": config.source.name, **config.source.options},
        "classes": dataset.classes,
        **asdict(describe_texts(dataset)),
        "origins": origins(config, dataset.validation is not None),
        "tokenizers": dict(dataset.tokenizers),
    }


def print_texts(facts: Facts, *, all_classes: bool) -> None:
    """Prints the facts of a data set of texts.

    Args:
        facts: from :func:`text_facts`.
        all_classes: list every class, however many there are.
    """
    parts = facts["parts"]
    total = sum(part["texts"] for part in parts.values())
    print_title(f"{facts['source']['name']}: {total:,} texts of {facts['classes']:,} classes")
    options = {key: value for key, value in facts["source"].items() if key != "name"}
    print_pairs(
        ("options", ", ".join(f"{key}: {value}" for key, value in options.items()) or "none"),
        ("tensors", ", ".join(facts["tensors"])),
    )
    print_title("\nparts")
    _print_parts(facts)
    print_title("\nclasses")
    _print_classes(facts, all_classes=all_classes)
    print_title("\nduplicates: texts with the same tokens")
    print_pairs(*_duplicates(facts))
    cut, limit = sum(part["at_limit"] for part in parts.values()), options.get("max_length", MAX_LENGTH)
    if max(part["longest"] for part in parts.values()) == limit:
        print_footnote(f"{cut:,} texts have {limit:,} tokens, which is max_length: most of them have been cut off")


def _print_parts(facts: Facts) -> None:
    table = Table("part", "texts", "tokens", "mean", "memory", "from", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in range(1, 5):
        table.columns[column].justify = "right"
    for name, part in facts["parts"].items():
        lengths = f"{part['shortest']:,} to {part['longest']:,}"
        row = (name, f"{part['texts']:,}", lengths, f"{part['mean']:.1f}", memory(part["memory"]))
        table.add_row(*row, escape(facts["origins"].get(name, "")))
    console.print(table, highlight=False)


def _print_classes(facts: Facts, *, all_classes: bool) -> None:
    names, parts = facts["class_names"], facts["parts"]
    shown = range(len(names) if all_classes else min(len(names), FEW_CLASSES))
    table = Table("class", *parts, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for label in shown:
        table.add_row(escape(names[label]), *(f"{part['class_counts'][label]:,}" for part in parts.values()))
    console.print(table, highlight=False)
    if len(shown) < len(names):
        print_footnote(f"{len(names) - len(shown):,} more classes; all of them: --classes")


def _duplicates(facts: Facts) -> Iterable[tuple[str, str]]:
    for name, part in facts["parts"].items():
        yield f"within {name}", f"{part['repeated']:,} of {part['texts']:,} texts repeat another"
    for name, count in facts["shared"].items():
        yield f"train, {name}", f"{count:,} of {facts['parts'][name]['texts']:,} texts of {name} are in train"
