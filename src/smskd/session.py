"""A run and its folder: begin it, go on with it, finish it."""

import os
import shlex
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from smskd.build import Provided, build
from smskd.builder.data import load_data
from smskd.builder.trust import check_names
from smskd.data import Dataset, TextDataset
from smskd.data.loaders.workers import lost_workers_told
from smskd.data.sources.catalog import Track as LoadTrack
from smskd.distributed import environment as job
from smskd.distributed.processes import join
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.recipe import Recipe, read, to_yaml
from smskd.recipe.absolute_paths import absolute_paths
from smskd.recipe.read import load_yaml
from smskd.report.page import PAGE, write_run_report
from smskd.runs.file_names import OF_RUNS, RECIPE
from smskd.runs.folder import RunFolder
from smskd.runs.others_folder import OthersFolder
from smskd.strategies.resolve import resolve
from smskd.strategies.resolved import ResolvedRecipe
from smskd.trackers.following import Trackers
from smskd.trackers.names import check_trackers
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
        problems: a sentence for everything beside training that has failed.
        epochs_after: of runs that will follow with the same teacher and data, as far as is known: a cache that they
            will read may be worth filling ahead.
    """

    recipe: ResolvedRecipe
    folder: RunFolder
    fresh: bool = False
    force: bool = False
    problems: list[str] = field(default_factory=list, compare=False)
    epochs_after: int = 0

    def load(self, track: LoadTrack | None = None) -> Dataset | TextDataset:
        """The data of the recipe."""
        processes = join()
        with self._discarded_on_error():
            if not processes.first:  # what is downloaded is there then
                processes.wait()
            loaded = load_data(self.recipe.data, track)
            if processes.first:
                processes.wait()
            return loaded

    def build(self, provided: Provided | None = None) -> RunConfig:
        """Everything that it needs.

        Args:
            provided: Python objects in place of what the recipe names, such as data that are loaded already.
        """
        with self._discarded_on_error(), preserved_globals(), lost_workers_told():
            config = build(self.recipe, provided, processes=join())
            return replace(config, epochs_after=self.epochs_after)

    def train(
        self, config: RunConfig, track: Track = untracked, *, report: bool = True
    ) -> Generator[Report, None, FeatureModel]:
        """Trains what is left to train and yields a report after each epoch; at the end summary and page are there.

        The run is complete before its page is made. A page that cannot be made is a sentence in :attr:`problems`.

        Args:
            config: the result of :meth:`build`.
            track: shows the progress within an epoch.
            report: whether to write the page.

        Raises:
            UserError: another process trains this run, a file cannot be written, or training cannot go on.
        """
        check_trackers(config.recipe.runtime.track)
        processes = config.sharing.processes
        if processes.from_first(lambda: self.folder.finished):  # its folder may be read-only
            student = yield from run(config, self.folder, track=track, force=self.force)
        else:
            with self.folder.locked(), lost_workers_told():
                try:
                    self._rewrite_recipe()
                    if processes.first:
                        student = yield from self._followed(config, track)
                    else:
                        student = yield from run(config, self.folder, track=track, force=self.force)
                    self.folder.conclude()
                except Exception:
                    if self.fresh:
                        self.folder.discard()
                    raise
        if report and processes.first:
            self.make_missing_page()
        return student

    def _followed(self, config: RunConfig, track: Track) -> Generator[Report, None, FeatureModel]:
        """Trains, and tells the trackers of each report."""
        trackers = Trackers(config, self.folder.path, self.problems)
        reports = run(config, self.folder, track=track, force=self.force)
        try:
            while True:
                try:
                    report = next(reports)
                except StopIteration as end:
                    student: FeatureModel = end.value
                    return student
                trackers.report(report)
                yield report
        finally:
            reports.close()
            trackers.finish()

    def make_missing_page(self) -> bool:
        """Makes the page of the finished run where there is none; whether there was none.

        A page that cannot be made is a sentence in :attr:`problems`.
        """
        if (self.folder.path / PAGE).exists():
            return False
        self._make_page()
        return True

    def discard(self) -> None:
        """Frees the folder of a new run that has no epoch yet, unless another process trains it."""
        with suppress(UserError), self.folder.locked():
            self.folder.discard()

    def _make_page(self) -> None:
        path = self.folder.path
        try:
            self.problems.extend(write_run_report(path).notes)
        except Exception as error:  # whatever the page fails on, the run is complete
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self.problems.append(
                f"the page of {path} could not be made ({reason}); make it with: smskd report {shlex.quote(str(path))}"
            )

    def _rewrite_recipe(self) -> None:
        """The folder's recipe becomes this one as long as there is no checkpoint, which would be compared.

        Raises:
            UserError: epochs have been trained already, with other settings.
        """
        if isinstance(self.folder, OthersFolder) or self.folder.has_checkpoint or self.folder.finished:
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
                self.discard()
            raise


def begin(recipe: Recipe, out: Path) -> Run:
    """A new run: its folder, with the resolved recipe and the environment in it.

    Raises:
        UserError: the recipe cannot be run, or the folder holds another run.
    """
    resolved = resolve(absolute_paths(recipe))
    check_trackers(resolved.runtime.track)
    folder = _folder(out)
    runtime = resolved.runtime
    here = environment(device_of(runtime.device), tf32=runtime.tf32, processes=job.count())
    folder.create(to_yaml(resolved.as_mapping()), here)
    return Run(resolved, folder, fresh=True)


def one_after_another(runs: list[Run]) -> list[Run]:
    """The runs, each with the epochs of those that follow it."""
    return [
        replace(run, epochs_after=sum(other.recipe.epochs for other in runs[place + 1 :]))
        for place, run in enumerate(runs)
    ]


def resume(recipe: Recipe, out: Path, *, force: bool = False) -> Run:
    """The run in a folder, to go on with by a recipe that should be its own.

    Raises:
        UserError: the folder holds no run.
    """
    if not (out / RECIPE).is_file():
        raise UserError(f"{out} holds no run to go on with; leave out resume to begin one")
    return Run(resolve(absolute_paths(recipe)), _folder(out), force=force)


def run_folders(path: Path) -> list[Path]:
    """The folders of runs: the folder itself, or those below it, also one that has lost its recipe.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    if (path / RECIPE).is_file():
        return [path]
    # A file alone may be anybody's.
    folders = sorted(Path(folder) for folder, _, names in os.walk(path) if len({*OF_RUNS} & {*names}) > 1)
    if not folders:
        raise UserError(f"{path} holds no run (no {RECIPE} in it)")
    return folders


def reopen(path: Path, *, force: bool = False, trust: bool = False) -> list[Run]:
    """The runs in a folder: the folder's own, or those in the folders below it.

    Args:
        path: the folder.
        force: see :class:`Run`.
        trust: whether recipes may name anything but what comes with the package; it is imported.

    Raises:
        UserError: there is none, or a recipe is not trusted.
    """
    return one_after_another([reopen_folder(folder, force=force, trust=trust) for folder in run_folders(path)])


def reopen_folder(folder: Path, *, force: bool = False, trust: bool = False) -> Run:
    """The run in one of :func:`run_folders`; the arguments are those of :func:`reopen`.

    Raises:
        UserError: its recipe is missing, damaged, or not trusted.
    """
    if not (folder / RECIPE).exists():
        raise UserError(f"{folder / RECIPE} is missing, though there are other files of a run; put it back")
    recipe = read(folder / RECIPE)
    if not trust:
        check_names(recipe, str(folder / RECIPE))
    return Run(resolve(recipe), _folder(folder), force=force)


def _folder(path: Path) -> RunFolder:
    """The folder of a run, which the first process of a job writes."""
    return RunFolder(path) if job.is_first() else OthersFolder(path)
