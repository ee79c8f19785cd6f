"""Where pictures come from, and the two loaders.

Names are loaded on first use, so that importing this costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smskd.data.sources.catalog import load, names

if TYPE_CHECKING:
    from smskd.data.augment.crop_flip import Augmentation
    from smskd.data.counter_rng import mix, mix_tensor
    from smskd.data.dataset import Dataset, Images, channel_statistics
    from smskd.data.loaders.base import Loader
    from smskd.data.loaders.in_memory import MemoryLoader
    from smskd.data.loaders.streaming import StreamingLoader

__all__ = [
    "Augmentation",
    "Dataset",
    "Images",
    "Loader",
    "MemoryLoader",
    "StreamingLoader",
    "channel_statistics",
    "load",
    "mix",
    "mix_tensor",
    "names",
]

_HOME = {
    "Augmentation": "augment.crop_flip",
    "Dataset": "dataset",
    "Loader": "loaders.base",
    "MemoryLoader": "loaders.in_memory",
    "Images": "dataset",
    "StreamingLoader": "loaders.streaming",
    "channel_statistics": "dataset",
    "mix": "counter_rng",
    "mix_tensor": "counter_rng",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
