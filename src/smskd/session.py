"""Training by recipe into a run folder, and going on with a run that was stopped."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from smskd.build import absolute_paths, assemble, load_data
from smskd.data import Dataset
from smskd.data.sources.catalog import Track as LoadTrack
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.recipe import Recipe, read, to_yaml
from smskd.recipe.read import load_yaml, read_text
from smskd.report.page import write_run_report
from smskd.runs.folder import RECIPE, RunFolder
from smskd.strategies.resolve import plan, resolved
from smskd.training.config import RunConfig
from smskd.training.epoch import Track, untracked
from smskd.training.host import allow_tf32, device_of, environment
from smskd.training.run import Report, run


@dataclass(frozen=True)
class Run:
    """A run that has a folder and can be trained.

    Attributes:
        recipe: resolved.
        folder: where everything is kept.
        fresh: it has only just been made. If it then turns out that it cannot begin, its folder is free again.
    """

    recipe: Recipe
    folder: RunFolder
    fresh: bool = False

    def load(self, track: LoadTrack | None = None) -> Dataset:
        """The recipe's pictures."""
        with self._discarded_on_error():
            return load_data(self.recipe.data, track)

    def train(self, setup: RunConfig, track: Track = untracked) -> Generator[Report, None, FeatureModel]:
        """Trains what is left to train and yields a report after each epoch; at the end summary and page are there.

        Args:
            setup: what :meth:`setup` gave.
            track: shows the progress within an epoch.
        """
        with self._discarded_on_error():
            return (yield from finish(setup, self.folder, track))

    def setup(self, pictures: Dataset | None = None) -> RunConfig:
        """All that it needs; ``pictures`` are the recipe's, if they are loaded already."""
        with self._discarded_on_error():
            return assemble(self.recipe, pictures)

    @contextmanager
    def _discarded_on_error(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            if self.fresh:
                self.folder.discard()
            raise


def finish(setup: RunConfig, folder: RunFolder, track: Track = untracked) -> Generator[Report, None, FeatureModel]:
    """Trains what is left of a run, writes its page, and returns the student."""
    student = yield from run(setup, folder, track=track)
    write_run_report(folder.path)
    folder.conclude()
    return student


def begin(recipe: Recipe, out: Path) -> Run:
    """A new run: its folder, with the resolved recipe and the environment in it.

    Raises:
        UserError: the recipe cannot be run, or the folder holds another run.
    """
    plan(recipe)
    full = resolved(absolute_paths(recipe))
    folder = RunFolder(out)
    allow_tf32(recipe.tf32)
    folder.create(to_yaml(full), environment(device_of(recipe.device)))
    return Run(full, folder, fresh=True)


def begin_seeds(recipe: Recipe, seeds: list[int], out: Path) -> list[Run]:
    """A new run for each seed, in ``out/seed<seed>``; all the folders are made before any is trained."""
    for seed in seeds:
        RunFolder(out / f"seed{seed}").check_free()
    return [begin(recipe.model_copy(update={"seed": seed}), out / f"seed{seed}") for seed in seeds]


def reopen(path: Path) -> list[Run]:
    """The runs in a folder: the folder's own, or those in the folders below it.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    files = [path / RECIPE] if (path / RECIPE).is_file() else sorted(path.rglob(RECIPE))
    if not files:
        raise UserError(f"{path} holds no run (no {RECIPE} in it)")
    return [Run(_reread(file), RunFolder(file.parent)) for file in files]


def _reread(file: Path) -> Recipe:
    raw = load_yaml(read_text(file), str(file))
    if isinstance(raw, dict) and "made_by" in raw:
        raise UserError(f"{file.parent} was trained by smskd.distill; go on with it there, with resume=True")
    return read(file)
