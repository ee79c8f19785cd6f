"""Compiling what a frozen network computes, for batches of one shape."""

import logging
from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from smskd.anchors.folding import close
from smskd.types import FeatureModel

Extract = Callable[[Tensor], dict[str, Tensor]]

_logger = logging.getLogger(__name__)


def compiled_extract(model: FeatureModel, pictures: Tensor, names: Collection[str]) -> Extract | None:
    """What computes the features as one program, in which activations and sums are part of the convolutions.

    It is run beside the model, and None is given if any feature differs by more than rounding, or if this machine
    cannot compile it (there is no C++ compiler, or the network does something that cannot be traced).

    Args:
        model: in eval mode, not trained any more; it is left as it is.
        pictures: a batch [N, channels, height, width]; what is given takes batches of its shape and format alone.
        names: of the features.
    """
    order = tuple(sorted(names))

    def features(x: Tensor) -> tuple[Tensor, ...]:
        found = model.extract(x, order)
        return tuple(found[name] for name in order)

    try:
        with torch.no_grad():
            program = _compile(make_fx(features)(pictures), pictures)
            same = all(close(*pair) for pair in zip(program(pictures), features(pictures), strict=True))
    except Exception as error:  # of the compiler's making; the network runs as well without it
        _logger.info("a frozen network is not compiled: %s", error)
        return None
    return (lambda x: dict(zip(order, program(x), strict=True))) if same else None


def _compile(graph: torch.fx.GraphModule, pictures: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    hush_compiler()
    import torch._inductor  # takes a second: not before it is needed

    # "freezing": the weights are constants, which it may bring into the form that a convolution likes best.
    program: Callable[[Tensor], tuple[Tensor, ...]] = torch._inductor.compile(
        graph, [pictures], options={"freezing": True}
    )
    return program


def hush_compiler() -> None:
    """Where CUDA is installed but no GPU is, importing the compiler says so, in the middle of the progress display."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
