"""Where pictures come from, and the two loaders.

Names are loaded on first use, so that importing this costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smskd.data.catalog import load, names

if TYPE_CHECKING:
    from smskd.data.augment import Augmentation
    from smskd.data.dataset import Dataset, channel_statistics
    from smskd.data.hashing import mix, mix_tensor
    from smskd.data.loader import Loader
    from smskd.data.memory import MemoryLoader
    from smskd.data.pictures import Pictures
    from smskd.data.streaming import StreamingLoader

__all__ = [
    "Augmentation",
    "Dataset",
    "Loader",
    "MemoryLoader",
    "Pictures",
    "StreamingLoader",
    "channel_statistics",
    "load",
    "mix",
    "mix_tensor",
    "names",
]

_HOME = {
    "Augmentation": "augment",
    "Dataset": "dataset",
    "Loader": "loader",
    "MemoryLoader": "memory",
    "Pictures": "pictures",
    "StreamingLoader": "streaming",
    "channel_statistics": "dataset",
    "mix": "hashing",
    "mix_tensor": "hashing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
