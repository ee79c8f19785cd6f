"""A student whose forward and backward pass are one compiled program each, for batches of one shape."""

import logging
import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from smskd.interfaces.features import FeatureModel
from smskd.models.probe import close

Program = Callable[[Tensor], tuple[Tensor, ...]]


BACKEND = "inductor"


_EXACT, _ROUNDED = 2.0**-23, 2.0**-8
"""How far rounding may move the pictures, as a share: in float32, and where factors are rounded on the way."""


_NOISE, _LEAST = 20, 1e-4
"""How many times as far as by moving the pictures so, and how far in any case, outputs and gradients may be moved.
Where ReLUs are near 0, gradients of deep networks follow the last bit."""


_logger = logging.getLogger(__name__)


class CompiledStudent:
    """The features of a student, computed by a compiled program where a batch is whole.

    The first batch says which shape that is; on it the program is run beside the student, and it is not used if
    outputs, gradients or buffers differ by more than rounding, or if the student cannot be compiled.

    Args:
        model: in train mode; it is trained as it would be otherwise.
    """

    def __init__(self, model: FeatureModel) -> None:
        self._model = model
        self._programs: dict[tuple[str, ...], Program | None] = {}
        self._whole: tuple[torch.Size, tuple[int, ...]] | None = None

    @property
    def compiled(self) -> bool:
        """Whether a program computes any of its features."""
        return any(program is not None for program in self._programs.values())

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features of a batch; see :meth:`FeatureModel.extract`."""
        order = tuple(sorted(names))
        program = self._program(x, order)
        return self._model.extract(x, names) if program is None else dict(zip(order, program(x), strict=True))

    def _program(self, x: Tensor, names: tuple[str, ...]) -> Program | None:
        x_format = (x.shape, x.stride())
        if self._whole is None:
            self._whole = x_format
        if x_format != self._whole:
            return None
        if names not in self._programs:
            self._programs[names] = compiled_training(self._model, x, names)
        return self._programs[names]


def compiled_training(model: FeatureModel, pictures: Tensor, names: Sequence[str]) -> Program | None:
    """What computes the features with their gradients; None if it differs from the model, or cannot be compiled.

    Args:
        model: in train mode; its weights and buffers are left as they are.
        pictures: a batch [N, channels, height, width]; what is given takes batches of its shape and format alone.
        names: of the features, in the order in which they are given.
    """

    def features(x: Tensor) -> tuple[Tensor, ...]:
        found = model.extract(x, names)
        return tuple(found[name] for name in names)

    hush_compiler()
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        # All of it or nothing: what fails halfway would have moved the batch norms.
        program: Program = torch.compile(features, backend=BACKEND, dynamic=False, fullgraph=True)
        with torch.random.fork_rng(_gpus(pictures)):
            same = _same(model, features, program, pictures)
    except Exception as error:  # of the compiler's making; the student trains as well without it
        _restore(model, before)
        _logger.info("the student is not compiled: %s", error)
        return None
    return program if same else None


def _same(model: FeatureModel, features: Program, program: Program, pictures: Tensor) -> bool:
    share = _EXACT if pictures.device.type == "cpu" and not torch.is_autocast_enabled("cpu") else _ROUNDED
    sign = torch.randn_like(pictures).sign_()
    expected = _training(model, features, pictures)
    moved = _training(model, features, pictures * (1 + share * sign))
    found = _training(model, program, pictures)
    return all(
        _difference(*pair) <= _NOISE * _difference(other, pair[1]) + _LEAST
        for pair, other in zip(zip(found, expected, strict=True), moved, strict=True)
    )


def _training(model: FeatureModel, run: Program, pictures: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and buffers of a step, and gradients; nothing is left of it."""
    before = [buffer.clone() for buffer in model.buffers()]
    torch.manual_seed(0)
    outputs = run(pictures)
    loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    made = [output.detach() for output in outputs] + [buffer.clone() for buffer in model.buffers()]
    _restore(model, before)
    return made, [gradient for gradient in gradients if gradient is not None]


@torch.no_grad()
def _restore(model: FeatureModel, buffers: Sequence[Tensor]) -> None:
    for buffer, value in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(value)


def _difference(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest of the distances of two tensors, as a share of the length of the second."""
    pairs = [(one.double(), other.double()) for one, other in zip(some, others, strict=True)]
    shares = [(one - other).norm() / (other.norm() + 1e-6) for one, other in pairs]
    largest = float(torch.stack(shares).max())
    return math.inf if math.isnan(largest) else largest


def _gpus(pictures: Tensor) -> list[torch.device]:
    return [pictures.device] if pictures.device.type == "cuda" else []


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
