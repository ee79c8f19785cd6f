"""A frozen network whose weights are spread over the processes of a job, for networks that do not fit one GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from smskd.distributed.processes import Processes
from smskd.errors import UserError

LEAST = 2**14
"""Numbers in the weights of a module from which on they are spread; those of smaller ones lie in every process."""


def spread(network: nn.Module, device: torch.device, processes: Processes) -> int:
    """Spreads the weights over the processes, by FSDP2 (``torch.distributed.fsdp.fully_shard``).

    Each process holds its share of every large weight, and the whole of one module while that runs. The network then
    runs in all processes at the same time, without gradient.

    Args:
        network: in eval mode, on the CPU; it is changed in place.
        device: of this process.
        processes: that run it together.

    Returns:
        The number of modules whose weights are spread.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # not before it is needed: it takes long to import

    mesh = init_device_mesh(device.type, (processes.count,))
    network.to(memory_format=torch.contiguous_format)  # FSDP refuses weights in other formats
    units = list(_units(network))
    for unit in units:
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    network.to(device)
    return len(units)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    """The innermost modules with large weights of their own: all networks call these, and some call their containers.

    A module that runs functions on its children's weights, as attention does, is one with them.
    """
    own = sum(weight.numel() for weight in module.parameters(recurse=False))
    if own >= LEAST or isinstance(module, nn.MultiheadAttention):
        if any(True for _ in module.parameters()):
            yield module
        return
    for child in module.children():
        yield from _units(child)


def storage_of(tensor: Tensor) -> int:
    """Where the numbers of a tensor lie, of one that is spread those of this process."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return int(local.untyped_storage().data_ptr())


@contextmanager
def refused_in_a_line() -> Iterator[None]:
    """Errors of a network that cannot be spread, in a line.

    Raises:
        UserError: there is one.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"shard: its weights cannot be spread over processes: {reason}") from error


def check_agrees(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Compares the outputs of a spread network with those of the network before.

    Raises:
        UserError: they differ by more than rounding.
    """
    for name, value in wanted.items():
        other = found[name].to(value)
        if not torch.allclose(other, value, rtol=1e-2, atol=1e-3 * float(value.abs().max() + 1)):
            raise UserError(f"shard: the network gives another {name} when its weights are spread; leave shard out")
