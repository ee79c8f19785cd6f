"""Making a network of timm, torchvision or transformers by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

from torch import Tensor, nn

from smskd.errors import UserError, nearest
from smskd.interfaces.inputs import InputForm
from smskd.models.libraries.names import library_of, own_name

Head = Literal["new", "own", "none"]

OWN_OPTIONS = ("pretrained", "head")
"""Options that determine the initial weights alone: not needed to make the network again for a file of weights."""


@dataclass(frozen=True)
class Wanted:
    """The network that is wanted.

    Attributes:
        name: by which its library knows it.
        classes: number of classes.
        image_shape: (channels, height, width) of the images.
        example: samples of several tensors by name, where the data are texts; None: they are images.
        pretrained: whether the library downloads its weights.
        head: ``new``: the last layer is replaced by a fresh one if the weights have other classes; ``own``: the
            network keeps its number of classes; ``none``: it has no last layer, and its output is the pooled vector;
            None: the classes must be those that are wanted.
        options: passed on to the library.
    """

    name: str
    classes: int
    image_shape: tuple[int, int, int]
    pretrained: bool = False
    head: Head | None = None
    options: Mapping[str, Any] | None = None
    example: Mapping[str, Tensor] | None = None

    def check_classes(self, found: int) -> None:
        """Refuses pretrained weights of another number of classes.

        Raises:
            UserError: there is another number of classes, and it was not asked to replace or to keep the last layer.
        """
        if self.head is None and found != self.classes:
            raise UserError(
                f"the pretrained '{self.name}' has {found} output classes, the data {self.classes}; replace its last "
                "layer by a fresh one with the option head: new, or keep it (head: own) in a teacher whose logits no "
                "loss reads"
            )


def make_of_library(name: str, classes: int, form: InputForm, options: Mapping[str, Any]) -> nn.Module:
    """The network of a library.

    Args:
        name: ``timm/NAME``, ``torchvision/NAME`` or ``transformers/FOLDER-or-ID``.
        classes: number of classes.
        form: (channels, height, width) of images, or samples of several tensors by name.
        options: ``pretrained`` and ``head`` (:class:`Wanted`), others are passed on to the library.

    Raises:
        UserError: the library is not installed, has no such network, or does not accept the options.
    """
    library = library_of(name)
    assert library is not None
    rest = {key: value for key, value in options.items() if key not in OWN_OPTIONS}
    pretrained, head = options.get("pretrained", False), options.get("head")
    if not isinstance(pretrained, bool):
        raise UserError(f"model '{name}': pretrained must be true or false, not {pretrained!r}")
    if head is not None and head not in get_args(Head):
        raise UserError(f"model '{name}': head must be one of {', '.join(get_args(Head))}, not {head!r}")
    shape, example = (form, None) if isinstance(form, tuple) else ((0, 0, 0), form)
    wanted = Wanted(own_name(name), classes, shape, pretrained, head, rest, example)
    making = import_module(f"smskd.models.libraries.{library}_making")
    try:
        model: nn.Module = making.make(wanted)
    except UserError:
        raise
    except Exception as error:  # of the library's making: a wrong option, no network, no such weights
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"model '{name}' cannot be made: {reason}") from error
    return model


def reads_texts(name: str) -> bool:
    """Whether the network of this name is one of transformers that classifies texts, and no images.

    Raises:
        UserError: transformers is not installed, or there is no such configuration.
    """
    if library_of(name) != "transformers":
        return False
    try:
        from smskd.models.libraries.transformers_making import is_text_classifier

        return is_text_classifier(own_name(name))
    except UserError:
        raise
    except Exception as error:  # of the library's making
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"model '{name}' cannot be made: {reason}") from error


def unknown(library: str, name: str, valid: list[str]) -> UserError:
    """The error of a name that a library does not know, with the nearest that it does."""
    hint = nearest(name, valid)
    shown = hint if "did you mean" in hint else f"; its {len(valid)} names are listed in its documentation"
    return UserError(f"{library} has no image classifier '{name}'{shown}")
