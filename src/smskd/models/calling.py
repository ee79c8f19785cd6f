"""Calling a network on one tensor, or on several by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def called(run: Callable[..., Any], module: nn.Module, x: Inputs, **further: Any) -> Any:
    """The output of a network.

    One tensor is its only argument. Of several by name it is given those that its ``forward`` names; where it names
    none of them, all of them by name if it takes any, or else the mapping as its only argument. Names with a dot are
    those of another network's tensors, and are left out.

    Args:
        run: the network, or a function that runs it.
        module: the network, of whose ``forward`` the arguments are.
        x: of one or more samples.
        further: arguments by name.
    """
    if isinstance(x, Tensor) or isinstance(module, FeatureModel):
        return run(x, **further)
    own = {name: tensor for name, tensor in x.items() if "." not in name}
    parameters = inspect.signature(module.forward).parameters
    named = {name: tensor for name, tensor in own.items() if _takes(parameters, name)}
    if named:
        return run(**named, **further)
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return run(**own, **further)
    return run(own, **further)


def _takes(parameters: Mapping[str, inspect.Parameter], name: str) -> bool:
    return name in parameters and parameters[name].kind in _BY_NAME
