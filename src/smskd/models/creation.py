"""Making a model by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import InputForm, Inputs
from smskd.models.hooks import adapt
from smskd.models.inspect import describe
from smskd.models.libraries.making import OWN_OPTIONS, make_of_library
from smskd.models.libraries.names import library_of
from smskd.models.metadata import Facts, set_facts
from smskd.models.zoo.names import names
from smskd.registry import MODELS


def create(
    name: str,
    classes: int = 100,
    channels: int = 3,
    image_size: tuple[int, int] = (32, 32),
    features: Mapping[str, str] | None = None,
    **options: Any,
) -> FeatureModel:
    """Makes a model with fresh weights.

    Args:
        name: of a model of the zoo (:func:`smskd.models.names`), of an installed entry point of the group
            ``smskd.models``, ``timm/NAME``, ``torchvision/NAME``, ``transformers/FOLDER-or-ID`` (an image classifier),
            or ``package.module:factory``. A factory is a class or function that returns an ``nn.Module``.
        classes: number of classes. It is passed to a factory outside the zoo where its signature has a parameter
            ``classes`` or ``num_classes``; in any case the model must have as many, unless a library's own number of
            classes is asked for.
        channels: channels of the images. It is passed to a factory outside the zoo where its signature has a parameter
            ``channels``.
        image_size: height and width of the images; the features of a model outside the zoo are discovered on them.
        features: where the features of a model outside the zoo are read; see :func:`smskd.models.adapt`.
        **options: passed to a factory outside the zoo. The models of the zoo have none. Those of a library have
            ``pretrained`` (whether the library downloads its weights) and ``head``: ``new`` replaces the last layer if
            the pretrained weights have other classes, ``own`` keeps it, ``none`` leaves it out (timm, transformers).

    Returns:
        The model; one from outside the zoo is adapted.

    Raises:
        UserError: there is no such model, it does not accept the options, or it has another number of classes.
    """
    return create_with(name, options, classes=classes, channels=channels, image_size=image_size, features=features)


def create_with(
    name: str,
    options: Mapping[str, Any],
    *,
    classes: int,
    channels: int,
    image_size: tuple[int, int],
    features: Mapping[str, str] | None = None,
    example: Mapping[str, Tensor] | None = None,
) -> FeatureModel:
    """:func:`create` with options of any name, such as one that is called ``classes``.

    Args:
        name, options, classes, channels, image_size, features: see :func:`create`.
        example: samples of several tensors by name, where the data are no images.
    """
    form: InputForm = (channels, *image_size) if example is None else example
    if library_of(name) is not None:
        model = _of_library(name, classes, form, features, options)
    elif name in names():
        _check_images(name, form)
        model = _of_zoo(name, MODELS.find(name), classes, channels, features, options)
    else:
        model = _adapted(name, MODELS.find(name), classes, form, features, options)
    lasting = options if library_of(name) is None else {k: v for k, v in options.items() if k not in OWN_OPTIONS}
    set_facts(model, Facts(model=name, options=dict(lasting), features=features and dict(features), classes=classes))
    return model


def _of_library(
    name: str,
    classes: int,
    form: InputForm,
    features: Mapping[str, str] | None,
    options: Mapping[str, Any],
) -> FeatureModel:
    if library_of(name) != "transformers":
        _check_images(name, form)
    model = adapt(make_of_library(name, classes, form, options), _example(form), features)
    if options.get("head") not in ("own", "none"):
        _check_classes(name, model, classes, form)
    return model


def _of_zoo(
    name: str,
    factory: Callable[..., FeatureModel],
    classes: int,
    channels: int,
    features: Mapping[str, str] | None,
    options: Mapping[str, Any],
) -> FeatureModel:
    if options:
        raise UserError(f"model {name!r} has no option {sorted(options)[0]!r}")
    if features:
        raise UserError(f"model {name!r} is of the zoo and has features of its own; leave 'features' out")
    return factory(classes=classes, channels=channels)


def _adapted(
    name: str,
    factory: Callable[..., Any],
    classes: int,
    form: InputForm,
    features: Mapping[str, str] | None,
    options: Mapping[str, Any],
) -> FeatureModel:
    offered = {"classes": classes, "num_classes": classes, **({"channels": form[0]} if isinstance(form, tuple) else {})}
    model = adapt(_called(name, factory, options, offered), _example(form), features)
    _check_classes(name, model, classes, form)
    return model


def _example(form: InputForm) -> Inputs:
    return torch.zeros(2, *form) if isinstance(form, tuple) else form


def _check_images(name: str, form: InputForm) -> None:
    if not isinstance(form, tuple):
        raise UserError(
            f"model {name!r} takes images, and the data are texts: choose transformers/FOLDER-or-ID, or "
            "package.module:factory"
        )


def _check_classes(name: str, model: FeatureModel, classes: int, form: InputForm) -> None:
    found = describe(model, form).classes
    if found != classes:
        raise UserError(
            f"model {name!r} has {found} output classes, the data {classes}; set the option of the model for it"
        )


def _called(
    name: str, factory: Callable[..., Any], options: Mapping[str, Any], offered: Mapping[str, Any]
) -> nn.Module:
    """The module that a factory makes.

    Args:
        name: of the model, for messages.
        factory: to call.
        options: arguments by name.
        offered: further arguments, each passed only where the factory's signature names it.

    Raises:
        UserError: the factory does not accept the options, or returns something else than an ``nn.Module``.
    """
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables of extension modules have none
        signature = inspect.Signature()
    arguments = {key: value for key, value in offered.items() if key in signature.parameters} | dict(options)
    try:
        model = factory(**arguments)
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        reason = str(error).partition("\n")[0]
        raise UserError(f"model {name!r} cannot be made with ({given}): {reason}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"model {name!r} returns a {type(model).__name__}, not a torch.nn.Module")
    return model
