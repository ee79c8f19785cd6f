"""A sweep in one call from Python."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smskd.analysis.compare import Row, compare
from smskd.config.sweep import SweepConfig
from smskd.runs.reader import find_finished
from smskd.sweeps.beginning import begin
from smskd.sweeps.beside import as_argument, beside_each_other, check_count
from smskd.sweeps.crew import train_sweep
from smskd.sweeps.sweep_file import read_sweep, sweep_of
from smskd.sweeps.sweep_worker import Told
from smskd.sweeps.totals import Totals, totals
from smskd.training.globals import preserved_globals

OnMessage = Callable[[Told], None]


@dataclass(frozen=True)
class SweepResult:
    """A sweep that is trained.

    Attributes:
        folder: with a folder for each run.
        rows: the comparison of its runs, as ``smskd sweep --table`` shows it.
        totals: epochs and seconds that were trained, against those without sharing.
    """

    folder: Path
    rows: tuple[Row, ...]
    totals: Totals


def sweep(
    file: SweepConfig | str | Path,
    *overrides: str,
    out: str | Path | None = None,
    workers: int = 1,
    storage: str | None = None,
    together: bool = False,
    at_most: int | None = None,
    on_message: OnMessage | None = None,
) -> SweepResult:
    """Trains a sweep in processes of one thread each, or goes on with it, as ``smskd sweep`` does.

    The processes are spawned: a program calls it below ``if __name__ == "__main__":``.

    Args:
        file: the YAML file of a sweep, the name of one of the package, or its settings, with a recipe that is a file or
            the name of one of the package.
        overrides: ``"key.path=value"`` each, of the recipe in every run.
        out: folder of the sweep; by default ``runs/<name>``.
        workers: number of processes.
        storage: URL of a database instead of a journal in the folder, for several machines.
        together: train as many runs beside each other as the memory holds, in one process; made for GPUs.
        at_most: runs beside each other.
        on_message: called in this process after each epoch and each run.

    Raises:
        UserError: a run cannot be trained. If it is found before training, nothing has begun; otherwise the other runs
            are complete.
    """
    check_count(workers, "workers")
    beside = beside_each_other(together=together, at_most=at_most, workers=workers, named=as_argument)
    with preserved_globals():
        wanted = sweep_of(file, overrides) if isinstance(file, SweepConfig) else read_sweep(file, overrides)
        folder = Path(out) if out is not None else Path("runs") / wanted.config.name
        board = begin(wanted, folder, storage, beside=beside)
        train_sweep(board, folder, workers, on_message or _ignored, beside)
    return SweepResult(folder, tuple(compare(find_finished([folder])[0])), totals(folder))


def _ignored(told: Told) -> None:
    pass
