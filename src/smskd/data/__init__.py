"""Data sources, data sets and the two loaders.

Names are loaded on first use, so that importing this module imports no torch.

``sources/`` reads data sets, ``images`` and ``samples`` hold them (in memory, or streamed from a map-style data set),
``dataset`` joins training, validation and test images, ``loading`` goes from the settings of a run to a data set,
``augment/`` crops, flips and distorts, and ``loaders/`` makes batches. Every random choice is a hash of seed, epoch
and sample (``counter_rng``).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smskd.data.sources.catalog import names

if TYPE_CHECKING:
    from smskd.data.augment.crop_flip import Augmentation
    from smskd.data.counter_rng import mix, mix_tensor
    from smskd.data.dataset import Dataset
    from smskd.data.description import Description, PartDescription, describe
    from smskd.data.encoded_contents import FileFacts, file_facts
    from smskd.data.equal_images import EqualImages, Place, Shared
    from smskd.data.images import Images
    from smskd.data.loaders.base import Loader
    from smskd.data.loaders.in_memory import MemoryLoader
    from smskd.data.loaders.sequences import SequenceLoader
    from smskd.data.loaders.streaming import StreamingLoader
    from smskd.data.loading import load
    from smskd.data.samples import StreamedSamples
    from smskd.data.statistics import channel_statistics
    from smskd.data.text_dataset import TextDataset
    from smskd.data.texts import Texts
    from smskd.data.validation import split_samples

__all__ = [
    "Augmentation",
    "Dataset",
    "Description",
    "EqualImages",
    "FileFacts",
    "Images",
    "Loader",
    "MemoryLoader",
    "PartDescription",
    "Place",
    "SequenceLoader",
    "Shared",
    "StreamedSamples",
    "StreamingLoader",
    "TextDataset",
    "Texts",
    "channel_statistics",
    "describe",
    "file_facts",
    "load",
    "mix",
    "mix_tensor",
    "names",
    "split_samples",
]

_HOME = {
    "Augmentation": "augment.crop_flip",
    "Dataset": "dataset",
    "Description": "description",
    "EqualImages": "equal_images",
    "FileFacts": "encoded_contents",
    "Images": "images",
    "Loader": "loaders.base",
    "MemoryLoader": "loaders.in_memory",
    "PartDescription": "description",
    "Place": "equal_images",
    "Shared": "equal_images",
    "StreamedSamples": "samples",
    "StreamingLoader": "loaders.streaming",
    "SequenceLoader": "loaders.sequences",
    "TextDataset": "text_dataset",
    "Texts": "texts",
    "channel_statistics": "statistics",
    "describe": "description",
    "file_facts": "encoded_contents",
    "load": "loading",
    "mix": "counter_rng",
    "mix_tensor": "counter_rng",
    "split_samples": "validation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
