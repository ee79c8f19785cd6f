"""Image classifiers of transformers, by a folder or an id of the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from smskd.errors import UserError
from smskd.models.libraries.making import Wanted
from smskd.models.libraries.names import not_installed


def make(wanted: Wanted) -> nn.Module:
    """The network of a folder with a ``config.json``, or of an id of the hub. No code of the folder is run.

    The numbers of classes and channels and the size of the images are put into the configuration where it has them.

    Raises:
        UserError: transformers is not installed, there is no such configuration, it is not that of an image classifier,
            or the classes of its weights are others.
    """
    try:
        import transformers
    except ImportError as error:
        raise not_installed("transformers", error) from None
    folder = Path(wanted.name)
    if (folder.exists() or wanted.name.startswith((".", "/", "~"))) and not (folder / "config.json").is_file():
        raise UserError(f"transformers: the folder {folder} has no config.json")
    config: Any = transformers.AutoConfig.from_pretrained(wanted.name)
    if type(config) not in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise UserError(
            f"transformers: '{wanted.name}' is a {config.model_type}, of which there is no image classifier"
        )
    if wanted.pretrained:
        wanted.check_classes(config.num_labels)
    if wanted.head == "none":
        config.num_labels = 0
    elif wanted.head != "own" and not (wanted.pretrained and config.num_labels == wanted.classes):
        config.num_labels = wanted.classes
    if not wanted.pretrained:
        _set(config, "num_channels", wanted.image_shape[0])
        height, width = wanted.image_shape[1:]
        _set(config, "image_size", height if height == width else (height, width))
    for key, value in (wanted.options or {}).items():
        if not hasattr(config, key):
            raise UserError(f"transformers: '{wanted.name}' has no option {json.dumps(key)} in its configuration")
        setattr(config, key, value)
    auto: Any = transformers.AutoModelForImageClassification
    if not wanted.pretrained:
        return _eager(auto.from_config(_with_class(config, transformers)))
    return _eager(auto.from_pretrained(wanted.name, config=config, ignore_mismatched_sizes=wanted.head == "new"))


def _with_class(config: Any, transformers: Any) -> Any:
    """The configuration with the first class of those that fit it, where it names none."""
    if not config.architectures:
        fitting = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
        config.architectures = [(fitting[0] if isinstance(fitting, tuple) else fitting).__name__]
    return config


def _eager(model: nn.Module) -> nn.Module:
    """Of train mode, as a fresh network is."""
    return model.train()


def _set(config: Any, key: str, value: Any) -> None:
    if hasattr(config, key):
        setattr(config, key, value)
