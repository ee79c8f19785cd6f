"""Everything that a run needs, built: networks, loaders and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from smskd.data import Loader
from smskd.distributed.sharing import UNSHARED, Sharing
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import InputForm, Inputs, device_of, form_of
from smskd.interfaces.terms import DataInfo
from smskd.models.frozen import Frozen
from smskd.strategies.resolved import ResolvedRecipe
from smskd.training.identity import Identity
from smskd.training.shared_batches import SharedBatches


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run needs, on its device.

    Attributes:
        recipe: every setting.
        student: the network to train.
        teachers: by stage; None where a stage has none. Stages with the same teacher share it.
        loaders: of the training data, by stage; stages with the same batch size share one.
        test: the loader of the test data.
        validation: of the validation split; None where there is none.
        example: an image [1, channels, height, width], or a few samples of several tensors by name, for the shapes of
            the features.
        data: facts of the data for the summary.
        student_metadata: goes into the files of the student's weights, so that they can be loaded alone.
        identity: of the run, compared when it is resumed.
        sharing: of the batches, with other processes; all loaders are of whole batches.
        epochs_after: of other runs that will follow with the same teacher and data, as far as is known.
    """

    recipe: ResolvedRecipe
    student: FeatureModel
    teachers: tuple[Frozen | None, ...]
    loaders: tuple[Loader, ...]
    test: Loader
    example: Inputs
    identity: Identity
    validation: Loader | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    student_metadata: Mapping[str, str] = field(default_factory=dict)
    sharing: Sharing = UNSHARED
    epochs_after: int = 0

    @cached_property
    def batches(self) -> SharedBatches:
        """The batches as this process has them."""
        return SharedBatches(self.sharing, self.recipe.training.accumulate)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.loaders[0].info.classes

    def data_of(self, stage: int) -> DataInfo:
        """What the terms of a stage may know of its data; the batch size is that of the samples that they relate.

        Args:
            stage: counted from 0.
        """
        info, sharing = self.loaders[stage].info, self.sharing
        pieces = self.recipe.training.accumulate * (1 if sharing.gathers else sharing.processes.count)
        return replace(info, batch_size=info.batch_size // pieces)

    @property
    def input_form(self) -> InputForm:
        """The form of a sample: (channels, height, width) of an image, or the example."""
        return form_of(self.example)

    @property
    def device(self) -> torch.device:
        """The device of training."""
        return device_of(self.example)
