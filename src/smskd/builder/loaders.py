"""The loaders of a run."""

from typing import Any

import torch
from torch import Tensor

from smskd.data import Augmentation, Dataset, Loader, TextDataset, mix
from smskd.data.loaders.make import make_loader
from smskd.data.samples import StreamedSamples, read_labels
from smskd.models.frozen import Frozen
from smskd.strategies.resolved import ResolvedRecipe
from smskd.teacher_cache import key_of, replayed_seed

_LOADER = 0x4C4F4144
"""Sets the seed of loaders apart from other uses of the run's seed."""


def test_loader(dataset: Dataset | TextDataset, batch_size: int, device: torch.device) -> Loader:
    """The test samples; images are normalised and nothing else."""
    plain = None if isinstance(dataset, TextDataset) else dataset.normalisation(torch.channels_last)
    return make_loader(dataset.test, batch_size, plain, device=device, shuffle=False)


def training_loaders(
    recipe: ResolvedRecipe,
    dataset: Dataset | TextDataset,
    augmentation: Augmentation | None,
    teachers: tuple[Frozen | None, ...],
    device: torch.device,
) -> tuple[tuple[Loader, ...], int]:
    """The loader of each stage, and their seed; stages with the same batch size share one."""
    modes = {stage.teacher.cache.mode for stage in recipe.stages if stage.teacher is not None}
    made: dict[int, Loader] = {}
    labels = _labels(recipe, dataset.train)

    def loader(batch_size: int, seed: int) -> Loader:
        return make_loader(
            dataset.train,
            batch_size,
            augmentation,
            config=recipe.data.loader,
            seed=seed,
            device=device,
            checksums=bool(modes - {"off"}),
            labels=labels,
        )

    seed = mix(recipe.runtime.seed, _LOADER)
    if "replay" in modes and (
        augmentation is None or augmentation.further is None or augmentation.further.repeats == 1
    ):
        seed = _replayed_seed(recipe, teachers, loader(recipe.stages[0].batch_size, seed), seed, device)
    for stage in recipe.stages:
        if stage.batch_size not in made:
            made[stage.batch_size] = loader(stage.batch_size, seed)
    return tuple(made[stage.batch_size] for stage in recipe.stages), seed


def _labels(recipe: ResolvedRecipe, train: Any) -> Tensor | None:
    """The labels that a term needs and the data set does not list, of every training sample, each read once."""
    terms = (term for stage in recipe.stages for term in (*(item.method for item in stage.methods), stage.anchor))
    needed = any(term is not None and term.needs_labels for term in terms)
    return read_labels(train) if needed and isinstance(train, StreamedSamples) else None


def _replayed_seed(
    recipe: ResolvedRecipe, teachers: tuple[Frozen | None, ...], loader: Loader, seed: int, device: torch.device
) -> int:
    """The seed with which a replay of the teacher's outputs was recorded."""
    pairs = zip(teachers, recipe.stages, strict=True)
    found = [
        (frozen, stage.teacher.cache)
        for frozen, stage in pairs
        if frozen is not None and stage.teacher is not None and stage.teacher.cache.mode == "replay"
    ]
    if not found:
        return seed
    frozen, cache = found[0]
    runtime = recipe.runtime
    key = key_of(frozen.model, loader.augmentation_space, cache, device, runtime.precision, tf32=runtime.tf32)
    return replayed_seed(key, cache, seed)
