"""Modules of the same kind, one for each level of features that is compared."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


class LevelModules(nn.Module, Generic[M]):
    """The modules under the names ``<prefix>0``, ``<prefix>1``, ...; iteration gives them in this order.

    Unlike ``nn.ModuleList`` it has the type of its members, and their names in the state dict are those of published
    code.

    Args:
        prefix: of the names.
        modules: first level first.
    """

    def __init__(self, prefix: str, modules: Iterable[M]) -> None:
        super().__init__()
        for level, module in enumerate(modules):
            self.add_module(f"{prefix}{level}", module)

    def __iter__(self) -> Iterator[M]:
        return iter(cast(list[M], list(self._modules.values())))

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, level: int) -> M:
        return list(self)[level]
