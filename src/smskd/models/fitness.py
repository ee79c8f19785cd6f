"""Whether a network can be trained, or learned from, at all: checks that need no images."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from smskd.errors import UserError


def check_network(network: nn.Module, role: str) -> None:
    """Refuses a network whose features cannot be read, or whose weights have no values.

    Args:
        network: of a user.
        role: ``student`` or ``teacher``, for the message.

    Raises:
        UserError: it is scripted or traced, has lazy parameters, lies on the meta device, or has weights that are NaN.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise UserError(
            f"{role}: a scripted or traced module (torch.jit) does not let its features be read; give the network that "
            "it was made from"
        )
    for name, tensor in _tensors(network):
        if is_lazy(tensor):
            raise UserError(f"{role}: '{name}' has no shape yet (a lazy module); run the network on a batch once")
        if tensor.is_meta:
            raise UserError(f"{role}: '{name}' is on the meta device and has no values; load its weights first")
        if tensor.is_floating_point() and bool(tensor.detach().isnan().any()):
            raise UserError(f"{role}: its weights are damaged: '{name}' holds NaN")


def check_trainable(network: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """Refuses a student that cannot be trained.

    Args:
        network: the student.
        dtype: of the images.

    Raises:
        UserError: it has no parameters, all of them are frozen, or they are of another type than the images.
    """
    parameters = list(network.named_parameters())
    if not parameters:
        raise UserError("student: it has no parameters, so that there is nothing to train")
    if not any(weight.requires_grad for _, weight in parameters):
        raise UserError("student: all its parameters are frozen; call student.requires_grad_(True)")
    for name, weight in parameters:
        if weight.is_floating_point() and weight.dtype != dtype:
            found, wanted = (str(own).removeprefix("torch.") for own in (weight.dtype, dtype))
            raise UserError(
                f"student: '{name}' is {found}, and a network is trained with {wanted} weights: call "
                "student.float(); for mixed precision set runtime.precision"
            )


def check_apart(student: nn.Module, teacher: nn.Module) -> None:
    """Refuses a teacher that is trained with the student.

    Args:
        student: the network to train.
        teacher: the network to learn from.

    Raises:
        UserError: they are one network, or share parameters that are trained or buffers.
    """
    if student is teacher:
        raise UserError(
            "student and teacher are the same network; to learn from its present weights give teacher=copy.deepcopy("
            "student)"
        )
    of_teacher = {id(tensor) for _, tensor in _tensors(teacher)}
    for name, tensor in _tensors(student):
        if id(tensor) in of_teacher and (tensor.requires_grad or not isinstance(tensor, nn.Parameter)):
            raise UserError(
                f"student and teacher share '{name}', so that training the student would change the teacher; give one "
                "of them a copy"
            )


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()
