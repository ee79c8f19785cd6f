"""What is known of a trained network: written beside its weights, read back, and carried by the network itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import blank_tokens

_ATTRIBUTE = "_smskd_facts"
_TEXTS = ("model", "network", "tokenizer")
_MOST_CLASSES = 10**7

Count = Annotated[int, Field(ge=1, le=_MOST_CLASSES)]
Tokens = Annotated[int, Field(ge=1, le=2**20)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Facts:
    """What is known of a trained network, as far as it is known.

    The network expects images that are normalised as those were that it learned from, and numbers its classes as they
    did. :func:`smskd.distill` and :func:`smskd.load` attach these facts to the networks that they return; where such a
    network is a teacher, its images and its classes are brought into agreement with those of the student.

    Attributes:
        model: the name by which :func:`smskd.models.create` makes the network; None: of a network of your own.
        options: further arguments of its factory.
        features: feature names and module names, where they were given; see :func:`smskd.models.adapt`.
        network: ``package.module:Class`` of a network of your own.
        classes: number of classes.
        class_names: one name per class, in the order of the logits.
        image_shape: (channels, height, width) of the images that it learned from.
        mean: per channel, of pixel values scaled to 0..1. None: unknown, since the data set gave its images as floats.
        std: per channel, likewise.
        fields: names of the tensors of a sample, where it is no image: ``input_ids``, ``attention_mask``.
        tokens: the largest number of tokens of a sample that it learned from.
        tokenizer: identifies the tokenizer whose ids it learned from.
        heads: descriptions of the heads that methods have put on the network, the innermost first.
        folded: names of the convolutions, each with the batch norm that has been folded into it.
    """

    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, str] | None = None
    network: str | None = None
    classes: int | None = None
    class_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    heads: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    tokens: int | None = None
    tokenizer: str | None = None
    folded: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, metadata: Mapping[str, str], source: str) -> "Facts":
        """The facts in the metadata of a file.

        Args:
            metadata: as :meth:`as_metadata` gives them; other keys are ignored.
            source: the file, for messages.

        Raises:
            UserError: a value is not what it has to be.
        """
        found: dict[str, Any] = {}
        for key, text in metadata.items():
            if key in cls.__dataclass_fields__:
                found[key] = text if key in _TEXTS else _json(text, key, source)
        try:
            checked = _ADAPTER.validate_python(found)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "they"
            raise UserError(f"{source}: its metadata are damaged: {key}: {first['msg']}") from None
        return cls(**{name: getattr(checked, name) for name in cls.__dataclass_fields__})

    def as_metadata(self) -> dict[str, str]:
        """Texts by key for the header of a file of weights; what is not known is left out."""
        empty = Facts()
        known = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: value if name in _TEXTS else json.dumps(value)
            for name, value in known.items()
            if value != getattr(empty, name) or (name == "options" and self.model is not None)
        }

    @property
    def example(self) -> dict[str, Tensor] | None:
        """Samples of the form that it learned from; None where these are images, or nothing is known."""
        return None if self.fields is None or self.tokens is None else blank_tokens(self.fields, self.tokens)

    @property
    def named_classes(self) -> tuple[str, ...] | None:
        """The class names; None where they only number the classes, "0", "1", "2" and so on."""
        names = self.class_names
        return None if names is None or names == tuple(map(str, range(len(names)))) else names


def facts(model: nn.Module) -> Facts | None:
    """What is known of a network, such as the normalisation that it expects and the names of its classes.

    Args:
        model: a network that :func:`smskd.distill`, :func:`smskd.load` or :func:`smskd.models.create` has returned, or
            a copy of one.

    Returns:
        None for any other network, of which nothing is known.
    """
    found = getattr(_own(model), _ATTRIBUTE, None)
    return found if isinstance(found, Facts) else None


def set_facts(model: nn.Module, known: Facts | None) -> None:
    """Attaches to a network what is known of it, or removes that.

    Do this after training a network further in a loop of your own, on data with another normalisation or other classes.

    Args:
        model: the network; a wrapper around it does not have its facts.
        known: None: nothing is known of it any more.
    """
    object.__setattr__(_own(model), _ATTRIBUTE, known)


def untrained(known: Facts | None) -> Facts | None:
    """The facts without those of the data that a network learned from."""
    return known and replace(known, class_names=None, mean=None, std=None, tokenizer=None)


def _own(model: nn.Module) -> nn.Module:
    return model.wrapped if isinstance(model, FeatureModel) else model


def _json(text: str, key: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{source}: its metadata are damaged: {key} is not JSON") from None


@checked_dataclass
class _Checked:
    """The types of :class:`Facts`, as they are in a file."""

    model: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    features: dict[str, str] | None = None
    network: str | None = None
    classes: Count | None = None
    class_names: tuple[str, ...] | None = None
    image_shape: tuple[Count, Count, Count] | None = None
    mean: tuple[Finite, ...] | None = None
    std: tuple[Annotated[Finite, Field(gt=0)], ...] | None = None
    heads: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    tokens: Tokens | None = None
    tokenizer: str | None = None
    folded: tuple[tuple[str, str], ...] = ()

    @model_validator(mode="after")
    def _agree(self) -> "_Checked":
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.classes} classes")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together")
        channels = self.image_shape and self.image_shape[0]
        if self.mean is not None and self.std is not None and not len(self.mean) == len(self.std) == channels:
            raise ValueError(f"mean and std are not those of {channels} channels")
        return self


_ADAPTER = TypeAdapter(_Checked)
