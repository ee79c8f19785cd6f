"""Networks made from files of weights. Only built-in names in a file are looked up, unless it is trusted."""

from collections.abc import Callable

import torch
from torch import nn

from smskd import models
from smskd.config.models import ModelConfig
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models.bn_folding import prepare_folded
from smskd.models.creation import create_with
from smskd.models.metadata import Facts, set_facts
from smskd.models.weights import SavedWeights, check_class_count, check_finite, check_fit, put_weights
from smskd.objective.student_head import rebuild_head

_INITIAL = frozenset({"pretrained", "weights", "checkpoint_path"})
"""Usual options of factories that choose nothing but initial weights."""


def network_of(weights: SavedWeights, own: nn.Module | None = None, *, trust: bool = False) -> nn.Module:
    """The network that weights belong to, with them and with the facts in their file.

    Args:
        weights: that have been read.
        own: the network, of weights that are not of the zoo; it is not copied.
        trust: whether Python objects that the file names are imported, and called with the arguments in the file.

    Raises:
        UserError: the file does not name the network, or names one that is not of the zoo and is not trusted; its
            weights do not fit.
    """
    facts = weights.facts
    module = _made(facts, weights, trust=trust) if own is None else _completed(own, facts, weights, trust=trust)
    put_weights(module, weights)
    set_facts(module, facts)
    return module


def load_model_weights(model: FeatureModel, weights: SavedWeights, config: ModelConfig) -> FeatureModel:
    """The network of a recipe with weights, and with the heads that methods have put on it.

    Args:
        model: fresh, as the recipe has it; it is not copied.
        weights: that have been read.
        config: the network in the recipe.

    Raises:
        UserError: the weights are of another network, do not fit, or are not finite.
    """
    facts = weights.facts
    _check_same_network(facts, config, weights)
    result = _with_heads(model, facts, weights, trust=False)
    check_class_count(result, weights)
    put_weights(result.wrapped, weights)
    check_finite(result.wrapped)
    set_facts(result, facts if weights.metadata else models.facts(model))
    return result


def features_of(config: ModelConfig, weights: SavedWeights) -> dict[str, str] | None:
    """The modules at which the features are read: as the recipe says, or as those were that a head reads.

    Raises:
        UserError: the two differ.
    """
    own, known = config.features, weights.facts.features
    if not weights.facts.heads or known is None:
        return own
    if own is not None and own != known:
        raise UserError(f"weights: {weights.file} has a head that reads the features {dict(known)}, not {own}")
    return dict(known)


def _made(facts: Facts, weights: SavedWeights, *, trust: bool) -> nn.Module:
    name = facts.model
    if name is None:
        of = f"are of a network of your own ({facts.network})" if facts.network else "do not name their network"
        raise UserError(f"{weights.file}: the weights {of}: build it, and give it to smskd.load(..., model=network)")
    if name not in models.names() and not trust:
        raise UserError(
            f"{weights.file}: the weights are of '{name}', which is not of the zoo; to make it, code outside of smskd "
            "would be run: give the network itself (smskd.load(..., model=network)), or say that the file is trusted "
            "(trust=True in Python, --trust on the command line)"
        )
    if facts.classes is None or (facts.image_shape is None and facts.example is None):
        raise UserError(f"{weights.file}: its metadata are damaged: they lack the classes or the image_shape")

    def make() -> FeatureModel:
        return _created(facts, name)

    if name in models.names():
        _check_size(weights, make, facts, trust=trust)
    return _with_heads(make(), facts, weights, trust=trust).wrapped


def _created(facts: Facts, name: str) -> FeatureModel:
    channels, height, width = facts.image_shape or (3, 32, 32)
    return create_with(
        name,
        facts.options,
        classes=facts.classes or 1,
        channels=channels,
        image_size=(height, width),
        features=facts.features,
        example=facts.example,
    )


def _completed(own: nn.Module, facts: Facts, weights: SavedWeights, *, trust: bool) -> nn.Module:
    """A network of the user's with the heads that methods have put on it."""
    if not facts.heads:
        network = own.wrapped if isinstance(own, FeatureModel) else own
        _fold(network, facts, weights)
        return network
    if facts.image_shape is None:
        raise UserError(f"{weights.file}: its metadata are damaged: they lack the image_shape")
    device = next((weight.device for weight in own.parameters()), torch.device("cpu"))
    features = None if isinstance(own, FeatureModel) else facts.features
    model = models.adapt(own, torch.zeros(1, *facts.image_shape, device=device), features)
    return _with_heads(model, facts, weights, trust=trust).wrapped


def _with_heads(model: FeatureModel, facts: Facts, weights: SavedWeights, *, trust: bool) -> FeatureModel:
    if facts.heads:
        _check_size(weights, lambda: model, facts, trust=trust)
    return _heads(model, facts, weights, trust=trust)


def _heads(model: FeatureModel, facts: Facts, weights: SavedWeights, *, trust: bool) -> FeatureModel:
    for description in facts.heads:
        try:
            model = rebuild_head(model, description, trust=trust)
        except UserError as error:
            raise UserError(f"weights: {weights.file}: {error}") from None
    _fold(model.wrapped, facts, weights)
    return model


def _fold(module: nn.Module, facts: Facts, weights: SavedWeights) -> None:
    """The layers of a network whose batch norms are folded in the file."""
    try:
        prepare_folded(module, facts.folded)
    except UserError as error:
        raise UserError(f"weights: {weights.file}: {error}") from None


def _check_size(weights: SavedWeights, make: Callable[[], FeatureModel], facts: Facts, *, trust: bool) -> None:
    """Refuses a network that would be larger than its file; nothing is allocated to find out."""
    try:
        with torch.device("meta"):
            trial = _heads(make(), facts, weights, trust=trust)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"weights: {weights.file}: its metadata are damaged: {reason}") from error
    check_fit(weights, trial.wrapped.state_dict())


def _check_same_network(facts: Facts, config: ModelConfig, weights: SavedWeights) -> None:
    """Refuses weights of another network than the recipe's, as far as the file says of which they are."""
    known = facts.model or facts.network
    if known is None:
        return
    of_zoo = config.name in models.names()
    differs = known != config.name if of_zoo else _own_name(known) != _own_name(config.name)
    if differs and (of_zoo or known not in models.names()):
        raise UserError(f"weights: {weights.file} has the weights of '{known}', not those of '{config.name}'")
    if facts.model is None or known in models.names():
        return
    theirs, ours = (_without_initial(options) for options in (facts.options, config.options))
    if theirs != ours:
        raise UserError(f"weights: {weights.file} has the weights of '{known}' with the options {theirs}, not {ours}")


def _own_name(name: str) -> str:
    """The name of a class or factory without its module, which may have been moved."""
    return name.rpartition(":")[2]


def _without_initial(options: object) -> dict[str, object]:
    return {key: value for key, value in dict(options).items() if key not in _INITIAL}  # type: ignore[call-overload]
