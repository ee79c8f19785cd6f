"""Image and text classifiers of transformers, by a folder or an id of the Hugging Face hub."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from smskd.errors import UserError, not_installed
from smskd.models.libraries.making import Wanted


def make(wanted: Wanted) -> nn.Module:
    """The network of a folder with a ``config.json``, or of an id of the hub. No code of the folder is run.

    The numbers of classes and channels and the size of the images are put into the configuration where it has them. For
    texts it is the classifier of sequences.

    Raises:
        UserError: transformers is not installed, there is no such configuration, it is not that of a classifier of
            such data, the classes of its weights are others, or texts are longer than it takes.
    """
    transformers, config = _library_and_config(wanted.name)
    kind = _kind(transformers, wanted)
    if type(config) not in kind.classes:
        raise UserError(f"transformers: '{wanted.name}' is a {config.model_type}, of which there is no {kind.noun}")
    if wanted.pretrained:
        wanted.check_classes(config.num_labels)
    if wanted.head == "none":
        config.num_labels = 0
    elif wanted.head != "own" and not (wanted.pretrained and config.num_labels == wanted.classes):
        config.num_labels = wanted.classes
    if not wanted.pretrained and wanted.example is None:
        _set(config, "num_channels", wanted.image_shape[0])
        height, width = wanted.image_shape[1:]
        _set(config, "image_size", height if height == width else (height, width))
    for key, value in (wanted.options or {}).items():
        if not hasattr(config, key):
            raise UserError(f"transformers: '{wanted.name}' has no option {json.dumps(key)} in its configuration")
        setattr(config, key, value)
    if wanted.example is not None:
        _check_tokens(config, wanted.name, wanted.example)
    if not wanted.pretrained:
        return _eager(kind.auto.from_config(_with_class(config, kind.classes)))
    return _eager(kind.auto.from_pretrained(wanted.name, config=config, ignore_mismatched_sizes=wanted.head == "new"))


def is_text_classifier(name: str) -> bool:
    """Whether the network of a folder or id has a classifier of texts, and none of images.

    Raises:
        UserError: transformers is not installed, or the folder has no ``config.json``.
    """
    transformers, config = _library_and_config(name)
    of_images = type(config) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    return not of_images and type(config) in transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING


def _library_and_config(name: str) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise not_installed("transformers", "transformers", error) from None
    folder = Path(name)
    if (folder.exists() or name.startswith((".", "/", "~"))) and not (folder / "config.json").is_file():
        raise UserError(f"transformers: the folder {folder} has no config.json{_near(folder)}")
    return transformers, transformers.AutoConfig.from_pretrained(name)


def _near(folder: Path) -> str:
    """The folder of a network beside a folder that is none, if there is one of a similar name."""
    beside = {path.parent.name: path.parent for path in folder.parent.glob("*/config.json")}
    close = get_close_matches(folder.name, beside, n=1)
    return f"; did you mean '{beside[close[0]]}'?" if close else ""


class _Kind(NamedTuple):
    """Classifiers of images, or of texts: their name, those that there are, and what makes them."""

    noun: str
    classes: Any
    auto: Any


def _kind(transformers: Any, wanted: Wanted) -> _Kind:
    if wanted.example is None:
        mapping = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
        return _Kind("image classifier", mapping, transformers.AutoModelForImageClassification)
    mapping = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    return _Kind("text classifier", mapping, transformers.AutoModelForSequenceClassification)


def _check_tokens(config: Any, name: str, example: Mapping[str, Tensor]) -> None:
    """Refuses texts that are longer than the network takes, and token ids that it does not have."""
    ids = example.get("input_ids")
    if ids is None:
        return
    vocabulary, positions = getattr(config, "vocab_size", None), getattr(config, "max_position_embeddings", None)
    if isinstance(vocabulary, int) and int(ids.max()) >= vocabulary:
        raise UserError(
            f"transformers: '{name}' has {vocabulary} token ids, and the data have the id {int(ids.max())}: its "
            "tokenizer is another one"
        )
    if isinstance(positions, int) and 0 < positions < ids.shape[1]:
        raise UserError(
            f"transformers: '{name}' takes at most {positions} tokens, and the data have up to {ids.shape[1]}: set "
            f"data.source.max_length to {positions}"
        )


def _with_class(config: Any, classes: Any) -> Any:
    """The configuration with the first class of those that fit it, where it names none."""
    if not config.architectures:
        fitting = classes[type(config)]
        config.architectures = [(fitting[0] if isinstance(fitting, tuple) else fitting).__name__]
    return config


def _eager(model: nn.Module) -> nn.Module:
    """Of train mode, as a fresh network is."""
    return model.train()


def _set(config: Any, key: str, value: Any) -> None:
    if hasattr(config, key):
        setattr(config, key, value)
