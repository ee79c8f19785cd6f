"""Folding batch norms into the convolutions in front of them, in a network that is not trained any more."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs
from smskd.models.copying import copy_of
from smskd.models.dry_run import preserve_state
from smskd.models.probe import close, full_precision, probe_inputs, readable_names

_IMAGES = 2


@dataclass(frozen=True)
class Folding:
    """The result of :func:`folded`.

    Attributes:
        model: the folded copy; None where nothing was folded.
        notes: one sentence for each reason for which batch norms were not folded.
        pairs: names of convolutions and of the batch norms that were folded into them, in ``model.wrapped``.
    """

    model: FeatureModel | None
    notes: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


def folded(model: FeatureModel, example: Inputs) -> Folding:
    """A copy of the model with each batch norm that directly follows a convolution folded into it.

    Which ones do is observed in a forward pass. A batch norm is left where it stands if it normalises with statistics
    of the batch, or if its convolution has hooks or computes its weight anew in each pass (pruned, weight-normed,
    spectral-normed, parametrized). The copy is compared with the model, and nothing is folded if any feature differs by
    more than rounding, or if the model cannot be copied or run on random images.

    Args:
        model: in eval mode; it is left as it is.
        example: images [N, channels, height, width], for their shape, or samples of several tensors by name.
    """
    try:
        with full_precision():
            return _folded(model, probe_inputs(model, example, _IMAGES))
    except Exception as error:  # folding is optional: the model runs as well without it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Folding(None, (f"Batch norms are not folded: {reason}",))


def _folded(model: FeatureModel, images: Inputs) -> Folding:
    names = readable_names(model)
    candidates, before = _pairs(model, images, names)
    obstacles = {pair: _obstacle(model, *pair) for pair in candidates}
    pairs = [pair for pair in candidates if obstacles[pair] is None]
    counted = Counter(reason for reason in obstacles.values() if reason is not None)
    notes = tuple(f"{count} batch norms are not folded: {reason}." for reason, count in counted.items())
    if not pairs:
        return Folding(None, notes)
    twin = copy_of(model)
    for convolution, norm in pairs:
        _fold(twin, convolution, norm)
    with preserve_state(twin):
        after = twin.extract(images, names)
    if all(close(after[name], before[name]) for name in names):
        return Folding(twin, notes, _in_wrapped(model, pairs))
    return Folding(None, ("Batch norms are not folded: the outputs would differ by more than rounding.",))


def prepare_folded(module: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Gives a network, in place, the layers of a folded one: its weights are still to be loaded.

    Args:
        module: the network with its batch norms.
        pairs: :attr:`Folding.pairs`.

    Raises:
        UserError: it has no such layers.
    """
    for convolution, norm in pairs:
        found = dict(module.named_modules())
        conv, bn = found.get(convolution), found.get(norm)
        if not isinstance(conv, nn.Conv2d) or not isinstance(bn, nn.BatchNorm2d):
            raise UserError(f"the network has no batch norm {norm!r} behind a convolution {convolution!r}")
        if conv.bias is None:
            conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
        _replace(module, norm, nn.Identity())


def _in_wrapped(model: FeatureModel, pairs: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    inside = next(name for name, module in model.named_modules() if module is model.wrapped)
    prefix = f"{inside}." if inside else ""
    return tuple((convolution.removeprefix(prefix), norm.removeprefix(prefix)) for convolution, norm in pairs)


def _pairs(model: FeatureModel, images: Inputs, names: list[str]) -> tuple[list[tuple[str, str]], dict[str, Tensor]]:
    """Names of convolutions and of the batch norms that alone read their outputs, and the features of the pass."""
    outputs: dict[int, tuple[str, Tensor]] = {}
    read: dict[str, tuple[int, str]] = {}
    calls: Counter[str] = Counter()

    def observe(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] += 1
            if isinstance(module, nn.Conv2d):
                outputs[id(output)] = (name, output)  # held, so that no other tensor gets its id
            elif id(inputs[0]) in outputs:
                read[name] = (id(inputs[0]), outputs[id(inputs[0])][0])

        return hook

    handles = [
        module.register_forward_hook(observe(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    try:
        with preserve_state(model):
            features = model.extract(images, names)
    finally:
        for handle in handles:
            handle.remove()
    tapped = {id(tensor) for tensor in features.values()}
    pairs = [
        (convolution, norm)
        for norm, (identity, convolution) in read.items()
        if identity not in tapped and calls[norm] == calls[convolution] == 1
    ]
    return pairs, features


def _obstacle(model: nn.Module, convolution: str, norm: str) -> str | None:
    """Why the batch norm cannot be folded; None where it can."""
    conv, bn = model.get_submodule(convolution), model.get_submodule(norm)
    if bn.training or bn.running_mean is None or bn.running_var is None:
        return "they normalise with the statistics of the batch"
    if type(bn).forward is not nn.BatchNorm2d.forward:
        return "they are subclasses of BatchNorm2d with a forward of their own"
    if not {"weight", "bias"} <= conv._parameters.keys():
        return "their convolutions compute a parameter anew in each pass (pruned, normalised or parametrized)"
    if any((module._forward_pre_hooks or module._forward_hooks) for module in (conv, bn)):
        return "hooks are registered on them or on their convolutions"
    return None


def _fold(model: nn.Module, convolution: str, norm: str) -> None:
    conv, bn = model.get_submodule(convolution), model.get_submodule(norm)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    _replace(model, convolution, fuse_conv_bn_eval(conv, bn).requires_grad_(False))
    _replace(model, norm, nn.Identity())


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)
