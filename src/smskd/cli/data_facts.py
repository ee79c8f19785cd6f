"""The facts of a data set that `smskd data` shows."""

from dataclasses import asdict
from typing import Any

from smskd.builder.data import load_data
from smskd.cli.printing import SafeConsole
from smskd.cli.progress import Display
from smskd.cli.show_texts import text_facts
from smskd.config.data import DataConfig
from smskd.config.paths import expanded
from smskd.data import Dataset, TextDataset
from smskd.data.class_words import class_words
from smskd.data.description import describe
from smskd.data.encoded_contents import EncodedContents
from smskd.data.equal_images import Place
from smskd.data.origins import origins
from smskd.data.sources.encoded_parts import encoded_parts
from smskd.errors import UserError


def data_facts(config: DataConfig, *, quiet: bool) -> dict[str, Any]:
    """Loads and describes the data of a recipe.

    Images of a folder that have several sizes are described as they are if no ``image_size`` is given; training would
    refuse them.

    Args:
        config: the settings.
        quiet: show no progress.

    Raises:
        UserError: a fault in the settings or in the data.
    """
    display = Display(SafeConsole(), quiet=quiet)
    with display.shown():
        contents = _contents(config)
        files = None if contents is None else contents.facts()
        own_sizes = contents is not None and files is not None and len(files.sizes) > 1 and not contents.resized
        loaded = contents.dataset() if contents is not None and own_sizes else load_data(config, display.reading)
        if isinstance(loaded, TextDataset):
            return text_facts(config, loaded)
        dataset = loaded
        description = describe(dataset, display.reading)
    root = config.source.options.get("root")
    found = asdict(description)
    mean, std = found.pop("normalisation")
    measured = found.pop("measured")
    equal = found.pop("duplicates")
    for key, groups in (
        ("examples", description.duplicates.examples),
        ("two_labels_examples", description.duplicates.two_labels_examples),
    ):
        equal[key] = [[_place(place, dataset, contents) for place in group] for group in groups]
    return {
        "source": {"name": config.source.name, **config.source.options},
        "classes": dataset.classes,
        **found,
        "class_words": {} if root is None else class_words(expanded(str(root)), dataset.class_names),
        "origins": origins(config, dataset.validation is not None),
        "files": None if files is None else asdict(files),
        "needs_image_size": own_sizes,
        "duplicates": equal,
        "normalisation": None if own_sizes else {"mean": mean, "std": std},
        "measured": None if measured is None else {"mean": measured[0], "std": measured[1]},
    }


def _contents(config: DataConfig) -> EncodedContents | None:
    try:
        parts = encoded_parts(config.source)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith("data.") else f"data: {message}") from None
    return None if parts is None else EncodedContents(config, parts)


def _place(place: Place, dataset: Dataset, contents: EncodedContents | None) -> dict[str, Any]:
    path = None if contents is None else contents.path(place.part, place.row)
    return {**asdict(place), "class": dataset.class_names[place.label], "file": path}
