"""The features of a frozen network, computed by one compiled program for batches of one shape."""

import logging
from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from smskd.interfaces.features import FeatureModel
from smskd.models.compiled import Program, ignored, quiet_compiler, reason_of
from smskd.models.dry_run import preserve_state
from smskd.models.probe import close

Extract = Callable[[Tensor], dict[str, Tensor]]

_logger = logging.getLogger(__name__)


def compiled_extract(
    model: FeatureModel, images: Tensor, names: Collection[str], note: Callable[[str], object] = ignored
) -> Extract | None:
    """A compiled program that computes the features, with activations and sums fused into the convolutions.

    It is compared with the model, and None is returned if any feature differs by more than rounding, or if this machine
    cannot compile it (there is no C++ compiler, or the network cannot be traced).

    Args:
        model: in eval mode, not trained any more; it is left as it is.
        images: a batch [N, channels, height, width]; the program takes batches of its shape and memory format alone.
        names: of the features.
        note: is called with a sentence on why there is no program.
    """
    order = tuple(sorted(names))

    def features(x: Tensor) -> tuple[Tensor, ...]:
        found = model.extract(x, order)
        return tuple(found[name] for name in order)

    try:
        with preserve_state(model):
            program = _compile(make_fx(features)(images), images)
            same = all(close(*pair) for pair in zip(program(images), features(images), strict=True))
    except Exception as error:  # compiling is optional: the network runs as well without it
        _logger.info("A frozen network is not compiled: %s", error)
        note(f"It is not compiled: {reason_of(error)}.")
        return None
    if not same:
        note("It is not compiled: the compiled program's outputs differ by more than rounding.")
    return (lambda x: dict(zip(order, program(x), strict=True))) if same else None


def _compile(graph: torch.fx.GraphModule, images: Tensor) -> Program:
    quiet_compiler()
    import torch._inductor  # takes a second: not before it is needed

    # Freezing makes constants of the weights, whose memory layout the compiler then may choose.
    program: Program = torch._inductor.compile(graph, [images], options={"freezing": True})
    return program
