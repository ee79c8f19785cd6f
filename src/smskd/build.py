"""From a resolved recipe to everything that a run needs: the only builder."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from smskd.builder.augmentation import augmentation_of
from smskd.builder.data import data_facts, load_data
from smskd.builder.division import check_division
from smskd.builder.learned import facts_of_data
from smskd.builder.loaders import training_loaders
from smskd.builder.networks import frozen_teachers, student_facts, student_of, teacher_fingerprints
from smskd.data import Augmentation, Dataset, Loader, TextDataset, mix
from smskd.data.loaders.identity import pixel_settings
from smskd.data.loaders.make import make_loader
from smskd.data.loaders.streaming import StreamingLoader
from smskd.data.loaders.whole_pictures import WHOLE_PICTURES
from smskd.data.sources.catalog import Track as LoadTrack
from smskd.distributed.processes import ALONE, Processes
from smskd.distributed.sharing import Sharing
from smskd.models.memory_format import safe_memory_format
from smskd.strategies.resolved import ResolvedRecipe
from smskd.teacher_cache.key import structure, weights
from smskd.training.config import RunConfig
from smskd.training.host import device_of
from smskd.training.identity import Identity
from smskd.training.rng import seed_everything

_STUDENT = 0x53545544
"""Sets the seed of initial weights apart from other uses of the run's seed."""


@dataclass(frozen=True)
class Provided:
    """Python objects in place of networks and data that a recipe names.

    Attributes:
        student, teacher: networks. The student is moved to the device, brought into the memory format of training and
            trained in place; the teacher is copied.
        dataset: the data, validation split included.
        augmentation: of training images of bytes, instead of the data set's own.
    """

    student: nn.Module | None = None
    teacher: nn.Module | None = None
    dataset: Dataset | TextDataset | None = None
    augmentation: Augmentation | None = None


def build(
    recipe: ResolvedRecipe,
    provided: Provided | None = None,
    track: LoadTrack | None = None,
    processes: Processes = ALONE,
) -> RunConfig:
    """Everything that a run of the recipe needs, on its device.

    It seeds the global random number generators and does not put them back; :mod:`smskd.session` does.

    Args:
        recipe: every setting.
        provided: Python objects in place of named ones.
        track: shows the progress of reading images.
        processes: that train the run together.

    Raises:
        UserError: anything in the recipe that cannot be had or does not fit.
    """
    provided = provided or Provided()
    check_division(recipe, processes.count)
    device = processes.device(device_of(recipe.runtime.device))
    dataset = provided.dataset or load_data(recipe.data, track)
    example = dataset.example(device)
    seed_everything(mix(recipe.runtime.seed, _STUDENT))
    data = facts_of_data(dataset, provided.augmentation)
    student = student_of(recipe, provided.student, dataset, data, example)
    memory_format = safe_memory_format(student, device)
    student.to(memory_format=memory_format)
    teachers = frozen_teachers(recipe, provided.teacher, dataset, data, example, processes)
    augmentation = augmentation_of(recipe.data, dataset, provided.augmentation, memory_format)
    loaders, loader_seed = training_loaders(recipe, dataset, augmentation, teachers, device)
    plain = None if augmentation is None else augmentation.plain()
    evaluation = {
        name: make_loader(
            split,
            recipe.training.test_batch_size,
            plain,
            config=recipe.data.loader,
            device=device,
            shuffle=False,
        )
        for name, split in (("test", dataset.test), ("validation", dataset.validation))
        if split is not None
    }
    fingerprints = {
        **dataset.fingerprints(),
        "augmentation": repr(None if augmentation is None else pixel_settings(augmentation)) + _crops(loaders),
        "loader_seed": str(loader_seed),
        "student": weights(student.wrapped),
        "student_structure": structure(student),
        **teacher_fingerprints(teachers),
    }
    return RunConfig(
        recipe=recipe,
        student=student,
        teachers=teachers,
        loaders=loaders,
        test=evaluation["test"],
        validation=evaluation.get("validation"),
        example=example,
        identity=Identity.of(recipe.as_mapping(), fingerprints),
        data=data_facts(dataset),
        student_metadata=student_facts(student, data).as_metadata(),
        sharing=Sharing(processes, recipe.runtime.gather == "global", recipe.runtime.sync_batch_norm),
    )


def _crops(loaders: Sequence[Loader]) -> str:
    """What is cropped at random, where it is not the images that the source gives."""
    whole = any(isinstance(loader, StreamingLoader) and loader.crops_whole_pictures for loader in loaders)
    return f", {WHOLE_PICTURES}" if whole else ""
