"""A run and its folder: begin it, go on with it, finish it."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smskd.build import Provided, build
from smskd.builder.data import load_data
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig
from smskd.data import Dataset
from smskd.data.sources.catalog import Track as LoadTrack
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.recipe import Recipe, read, to_yaml
from smskd.recipe.read import load_yaml
from smskd.report.page import write_run_report
from smskd.runs.folder import RECIPE, RunFolder
from smskd.strategies.resolve import resolve
from smskd.strategies.resolved import ResolvedRecipe
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from smskd.training.host import device_of, environment
from smskd.training.identity import Identity, check_identity
from smskd.training.reports import Track, untracked
from smskd.training.run import Report, run


@dataclass(frozen=True)
class Run:
    """A run that has a folder and can be trained. Global state of the process is as before after each method.

    Attributes:
        recipe: every setting.
        folder: where everything is kept.
        fresh: it has only just been made. If it then turns out that it cannot begin, its folder is free again.
        force: whether it may go on with settings that differ harmlessly from those it was begun with.
    """

    recipe: ResolvedRecipe
    folder: RunFolder
    fresh: bool = False
    force: bool = False

    def load(self, track: LoadTrack | None = None) -> Dataset:
        """The data of the recipe."""
        with self._discarded_on_error():
            return load_data(self.recipe.data, track)

    def build(self, provided: Provided | None = None) -> RunConfig:
        """Everything that it needs.

        Args:
            provided: Python objects in place of what the recipe names, such as data that are loaded already.
        """
        with self._discarded_on_error(), preserved_globals():
            return build(self.recipe, provided)

    def train(
        self, config: RunConfig, track: Track = untracked, *, report: bool = True
    ) -> Generator[Report, None, FeatureModel]:
        """Trains what is left to train and yields a report after each epoch; at the end summary and page are there.

        Args:
            config: the result of :meth:`build`.
            track: shows the progress within an epoch.
            report: whether to write the page.
        """
        with self._discarded_on_error():
            self._rewrite_recipe()
            student = yield from run(config, self.folder, track=track, force=self.force)
            if report:
                write_run_report(self.folder.path)
            self.folder.conclude()
            return student

    def _rewrite_recipe(self) -> None:
        """The folder's recipe becomes this one as long as there is no checkpoint, which would be compared.

        Raises:
            UserError: epochs have been trained already, with other settings.
        """
        if self.folder.has_checkpoint or self.folder.finished:
            return
        mapping = self.recipe.as_mapping()
        if self.folder.has_metrics:
            begun = load_yaml(self.folder.load_recipe(), str(self.folder.path))
            check_identity(Identity.of(begun, {}), Identity.of(mapping, {}), self.folder.path, force=self.force)
        self.folder.save_recipe(to_yaml(mapping))

    @contextmanager
    def _discarded_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            if self.fresh:
                self.folder.discard()
            raise


def begin(recipe: Recipe, out: Path) -> Run:
    """A new run: its folder, with the resolved recipe and the environment in it.

    Raises:
        UserError: the recipe cannot be run, or the folder holds another run.
    """
    resolved = resolve(absolute_paths(recipe))
    folder = RunFolder(out)
    runtime = resolved.runtime
    folder.create(to_yaml(resolved.as_mapping()), environment(device_of(runtime.device), tf32=runtime.tf32))
    return Run(resolved, folder, fresh=True)


def begin_seeds(recipe: Recipe, seeds: list[int], out: Path) -> list[Run]:
    """A new run for each seed, in ``out/seed<seed>``; all the folders are made before any is trained."""
    for seed in seeds:
        RunFolder(out / f"seed{seed}").check_free()
    return [begin(with_seed(recipe, seed), out / f"seed{seed}") for seed in seeds]


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed."""
    return replace(recipe, runtime=replace(recipe.runtime, seed=seed))


def resume(recipe: Recipe, out: Path, *, force: bool = False) -> Run:
    """The run in a folder, to go on with by a recipe that should be its own.

    Raises:
        UserError: the folder holds no run.
    """
    if not (out / RECIPE).is_file():
        raise UserError(f"{out} holds no run to go on with; leave out resume to begin one")
    return Run(resolve(absolute_paths(recipe)), RunFolder(out), force=force)


def reopen(path: Path, *, force: bool = False) -> list[Run]:
    """The runs in a folder: the folder's own, or those in the folders below it.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    files = [path / RECIPE] if (path / RECIPE).is_file() else sorted(path.rglob(RECIPE))
    if not files:
        raise UserError(f"{path} holds no run (no {RECIPE} in it)")
    return [Run(resolve(read(file)), RunFolder(file.parent), force=force) for file in files]


def absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with its paths made absolute, so that it means the same from another folder."""
    stages = recipe.stages and tuple(
        replace(stage, teacher=_absolute_model(stage.teacher)) if stage.teacher else stage for stage in recipe.stages
    )
    return replace(
        recipe,
        data=_absolute_data(recipe.data),
        student=_absolute_model(recipe.student),
        teacher=_absolute_model(recipe.teacher),
        stages=stages,
    )


def _absolute_data(data: DataConfig) -> DataConfig:
    validation = data.validation
    if validation is not None and validation.source is not None:
        validation = replace(validation, source=_absolute_source(validation.source))
    return replace(data, source=_absolute_source(data.source), validation=validation)


def _absolute_source(source: ComponentConfig) -> ComponentConfig:
    root = source.options.get("root")
    return source if not isinstance(root, str) else replace(source, options={**source.options, "root": _absolute(root)})


def _absolute_model(model: Any) -> Any:
    if model is None:
        return None
    changes: dict[str, Any] = {}
    if model.weights is not None:
        changes["weights"] = _absolute(model.weights)
    cache = getattr(model, "cache", None)
    if cache is not None and cache.folder is not None:
        changes["cache"] = replace(cache, folder=_absolute(cache.folder))
    return replace(model, **changes)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
