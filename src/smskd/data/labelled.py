"""The common ground of data sets of images and of texts."""

from abc import ABC, abstractmethod
from typing import Any

import torch

from smskd.interfaces.inputs import Inputs


class LabelledData(ABC):
    """Training, test and perhaps validation samples of the same classes.

    Attributes:
        name: of the data source.
        train, test, validation: the parts; ``validation`` is None where there is none.
    """

    name: str
    train: Any
    test: Any
    validation: Any

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        names: tuple[str, ...] = self.train.class_names
        return names

    @abstractmethod
    def example(self, device: torch.device) -> Inputs:
        """A few inputs of networks, for their shapes, types and device."""

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 (hexadecimal) of ``train``, ``test`` and, where there is one, ``validation``.

        Of images or texts in memory it covers every byte; of streamed samples see
        :func:`smskd.data.samples.samples_fingerprint`.
        """
        splits = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split.fingerprint() for name, split in splits.items() if split is not None}

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the parts, and of what else determines the inputs of networks."""
