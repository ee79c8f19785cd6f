"""Runs that differ in their seed alone: their folders are made together."""

from dataclasses import replace
from pathlib import Path

from smskd.builder.trust import check_names
from smskd.distributed import environment as job
from smskd.recipe import Recipe, parse
from smskd.recipe.absolute_paths import absolute_paths
from smskd.runs import seeds_file
from smskd.runs.file_names import RECIPE, SEEDS
from smskd.runs.folder import RunFolder
from smskd.session import Run, begin, one_after_another
from smskd.strategies.resolve import resolve


def begin_seeds(recipe: Recipe, seeds: list[int], out: Path) -> list[Run]:
    """A new run for each seed, in ``out/seed<seed>``; all the folders are made before any is trained.

    If the process is killed meanwhile, :func:`begin_missing` makes the folders that are missing.

    Raises:
        UserError: as in :func:`begin`; then no run has begun.
    """
    recipes = {f"seed{seed}": with_seed(recipe, seed) for seed in seeds}
    if not job.is_first():
        return [begin(own, out / name) for name, own in recipes.items()]
    for name in recipes:
        RunFolder(out / name).check_free()
    resolved = {name: resolve(absolute_paths(own)).as_mapping() for name, own in recipes.items()}
    seeds_file.note_wanted(out, resolved)
    runs: list[Run] = []
    try:
        for name, own in recipes.items():
            runs.append(begin(own, out / name))
    except Exception:
        for run in runs:
            run.discard()
        seeds_file.all_begun(out)
        raise
    seeds_file.all_begun(out)
    return one_after_another(runs)


def begin_missing(path: Path, *, trust: bool = False) -> None:
    """Makes the folders of runs that :func:`begin_seeds` was to make, in this folder and below it.

    Args:
        path: the folder.
        trust: as in :func:`reopen`.

    Raises:
        UserError: a run cannot begin, or what is to begin is damaged.
    """
    for folder in [file.parent for file in sorted(path.rglob(SEEDS))]:
        for name, mapping in seeds_file.wanted_runs(folder).items():
            if not (folder / name / RECIPE).is_file():
                recipe = parse(mapping, str(folder / SEEDS))
                if not trust:
                    check_names(recipe, str(folder / SEEDS))
                begin(recipe, folder / name)
        seeds_file.all_begun(folder)


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed."""
    return replace(recipe, runtime=replace(recipe.runtime, seed=seed))
