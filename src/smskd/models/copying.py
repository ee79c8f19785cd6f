"""Copies of networks that hold more than parameters and buffers."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def copy_of(model: Module) -> Module:
    """A deep copy of a network, as far as its parts can be copied.

    A tensor with a graph that a module keeps as an attribute (its last output, the weight of a pruned or weight-normed
    layer) is copied without the graph. Hooks and attributes that cannot be copied, such as a lock or an open file, are
    shared with the original; containers of them are not.

    Args:
        model: left as it is.

    Raises:
        Exception: whatever :func:`copy.deepcopy` raises where an attribute cannot be copied and is a container.
    """
    with _DetachedCopies():
        try:
            return copy.deepcopy(model)
        except Exception:
            return copy.deepcopy(model, {id(part): part for part in _parts(model) if not _can_be_copied(part)})


class _DetachedCopies(TorchFunctionMode):
    """Within, ``copy.deepcopy`` of a tensor with a graph is a copy without it; PyTorch refuses to copy one."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def _parts(model: nn.Module) -> Iterator[object]:
    """Hooks, and attributes that are neither tensors nor modules nor containers."""
    for module in model.modules():
        for name in _HOOKS:
            yield from vars(module)[name].values()
        for value in vars(module).values():
            if not isinstance(value, Tensor | nn.Module | dict | list | tuple | set):
                yield value


def _can_be_copied(part: object) -> bool:
    try:
        copy.deepcopy(part)
    except Exception:  # of the part's making
        return False
    return True
