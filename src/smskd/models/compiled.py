"""A student whose forward and backward pass are one compiled program each, for batches of one shape."""

import logging
import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from smskd.interfaces.features import LOGITS, FeatureModel
from smskd.models.dry_run import preserved_random_state
from smskd.models.hooks import HookedModel

Program = Callable[[Tensor], tuple[Tensor, ...]]

BACKEND = "inductor"

_FLOAT32, _REDUCED = 2.0**-23, 2.0**-8
"""Relative rounding errors: of float32, and where factors are rounded to TF32 or bfloat16 on the way."""

_SENSITIVITY, _FLOOR = 20, 1e-4
"""Outputs and gradients of the program may differ from the student's by this many times the effect of one rounding
error of the images, and in any case by the floor. Where ReLUs are near 0, gradients of deep networks depend on the last
bit."""

_HOOKS = "features are read by hooks on its modules, which the compiler does not follow"

_logger = logging.getLogger(__name__)


class CompiledStudent:
    """The features of a student, computed by a compiled program where a batch is whole.

    The first batch determines the shape of whole batches. On it the program is compared with the student, and it is not
    used if outputs, gradients or buffers differ by more than rounding, or if the student cannot be compiled.

    Args:
        model: in train mode; it is trained as it would be otherwise.
    """

    def __init__(self, model: FeatureModel) -> None:
        self._model = model
        self._programs: dict[tuple[str, ...], Program | None] = {}
        self._whole: tuple[torch.Size, tuple[int, ...], torch.dtype] | None = None
        self.notes: list[str] = []
        """A sentence for each program that is not used, and why."""

    @property
    def compiled(self) -> bool:
        """Whether a program computes any of its features."""
        return any(program is not None for program in self._programs.values())

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features of a batch; see :meth:`FeatureModel.extract`."""
        order = tuple(sorted(names))
        program = self._program(x, order)
        if program is not None:
            try:
                return dict(zip(order, program(x), strict=True))
            except (
                torch._dynamo.exc.TorchDynamoException
            ) as error:  # compiled anew for this batch, in vain; nothing ran
                self._programs[order] = None
                self.notes.append(_note(reason_of(error)))
        return self._model.extract(x, names)

    def _program(self, x: Tensor, names: tuple[str, ...]) -> Program | None:
        x_format = (x.shape, x.stride(), x.dtype)
        if self._whole is None:
            self._whole = x_format
        if x_format != self._whole:
            return None
        if names not in self._programs:
            self._programs[names] = compiled_training(self._model, x, names, self.notes.append)
        return self._programs[names]


def ignored(note: str) -> None:
    """Takes a note that nobody reads."""


def compiled_training(
    model: FeatureModel, images: Tensor, names: Sequence[str], note: Callable[[str], object] = ignored
) -> Program | None:
    """A compiled program that computes the features with their gradients.

    Args:
        model: in train mode; its weights and buffers are left as they are.
        images: a batch [N, channels, height, width]; the program takes batches of its shape and memory format alone.
        names: of the features, in the order in which the program returns them.
        note: is called with a sentence on why there is no program.

    Returns:
        The program; None if it differs from the model, or if the model cannot be compiled.
    """

    def features(x: Tensor) -> tuple[Tensor, ...]:
        found = model.extract(x, names)
        return tuple(found[name] for name in names)

    # A code object of its own: the compiler gives up on one that it has compiled for several models.
    features.__code__ = features.__code__.replace()
    quiet_compiler()
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        # The whole graph or nothing: a program that fails halfway would have updated the batch norms.
        program: Program = torch.compile(features, backend=BACKEND, dynamic=False, fullgraph=True)
        with preserved_random_state(model):
            same = _same(model, features, program, images)
    except Exception as error:  # compiling is optional: the student trains as well without it
        _restore(model, before)
        _logger.info("The student is not compiled: %s", error)
        note(_note(_HOOKS if _uses_hooks(model, names) else reason_of(error)))
        return None
    if not same:
        note(_note("the compiled program's outputs or gradients differ by more than rounding"))
    return program if same else None


def reason_of(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _uses_hooks(model: FeatureModel, names: Collection[str]) -> bool:
    return set(names) != {LOGITS} and any(isinstance(part, HookedModel) for part in model.modules())


def _note(reason: str) -> str:
    return f"It is not compiled: {reason}."


def _same(model: FeatureModel, features: Program, program: Program, images: Tensor) -> bool:
    rounding = _FLOAT32 if images.device.type == "cpu" and not torch.is_autocast_enabled("cpu") else _REDUCED
    sign = torch.randn_like(images).sign_()
    expected = _training_step(model, features, images)
    perturbed = _training_step(model, features, images * (1 + rounding * sign))
    found = _training_step(model, program, images)
    return all(
        _difference(*pair) <= _SENSITIVITY * _difference(other, pair[1]) + _FLOOR
        for pair, other in zip(zip(found, expected, strict=True), perturbed, strict=True)
    )


def _training_step(model: FeatureModel, run: Program, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and buffers of a step, and gradients; the model is left as it was."""
    before = [buffer.clone() for buffer in model.buffers()]
    torch.manual_seed(0)
    outputs = run(images)
    loss = torch.stack([output.float().square().mean() for output in outputs]).sum()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    values = [output.detach() for output in outputs] + [buffer.clone() for buffer in model.buffers()]
    _restore(model, before)
    return values, [gradient for gradient in gradients if gradient is not None]


@torch.no_grad()
def _restore(model: FeatureModel, buffers: Sequence[Tensor]) -> None:
    for buffer, value in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(value)


def _difference(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest distance of two tensors, relative to the norm of the second."""
    pairs = [(one.double(), other.double()) for one, other in zip(some, others, strict=True)]
    shares = [(one - other).norm() / (other.norm() + 1e-6) for one, other in pairs]
    largest = float(torch.stack(shares).max())
    return math.inf if math.isnan(largest) else largest


def quiet_compiler() -> None:
    """Hides a warning of PyTorch's compiler about a missing GPU, which would break the progress display."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
