"""The signature of `smskd sweep`. Nothing here imports torch before it is needed."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from smskd.cli.arguments import AsJson, AtMost, Overrides, Quiet, Together, Trust, named_folder
from smskd.errors import UserError
from smskd.sweeps.beside import Beside, beside_each_other

MOST_WORKERS = 256


def sweep(
    file: Annotated[
        str | None, typer.Argument(metavar="SWEEP", help="A YAML file, or the name of a sweep of the package.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=named_folder, metavar="PATH", help=r"Folder of the sweep.  \[default: runs/<name>]"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="Processes on this machine.")] = 1,
    together: Together = False,
    at_most: AtMost = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help=r"A database instead of a journal in the folder, for several machines."),
    ] = None,
    join: Annotated[
        str | None, typer.Option(metavar="URL", help="Train runs of the sweep in this database; needs --name.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The sweep to join.", metavar="NAME")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the stages that would be trained.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Print how far the sweep is.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Compare the finished runs.")] = False,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train many runs, in several processes or on several machines; stages that they share are trained once."""
    beside = beside_each_other(together=together, at_most=at_most, workers=workers)
    if dry_run + status + table + (join is not None) > 1:
        raise UserError("give one of --dry-run, --status, --table and --join")
    if table and out is not None and file is None:
        from smskd.cli.sweep import print_table

        print_table(out, as_json=as_json)
        return
    if join is not None:
        _join(join, name, out, workers, beside, trust=trust, quiet=quiet)
        return
    if file is None:
        raise UserError("give the file of a sweep, or --join URL --name NAME")
    action = "plan" if dry_run else _shown(status, table)
    _begin(file, overrides or [], out, workers, storage, quiet, as_json, action, beside)


def _shown(status: bool, table: bool) -> str:
    return "status" if status else "table" if table else "train"


def _begin(
    file: str,
    overrides: list[str],
    out: Path | None,
    workers: int,
    storage: str | None,
    quiet: bool,
    as_json: bool,
    action: str,
    beside: Beside | None,
) -> None:
    from smskd.sweeps.sweep_file import read_sweep

    wanted = read_sweep(file, overrides)
    folder = out or Path("runs") / wanted.config.name
    from smskd.cli import sweep as actions  # imports torch, which takes seconds: mistakes are found before
    from smskd.cli.printing import SafeConsole
    from smskd.cli.progress import Display

    if action == "plan":
        actions.print_plan(wanted, folder, Display(SafeConsole(), quiet=quiet or as_json), as_json=as_json)
    elif action == "status":
        actions.print_status(folder, storage, wanted.config.name, as_json=as_json)
    elif action == "table":
        actions.print_table(folder, wanted.config.baseline, as_json=as_json)
    else:
        stored = [f"--storage {shlex.quote(storage)}"] if storage else []
        options = [f"--out {shlex.quote(str(folder))}", *stored, *([str(beside)] if beside else [])]
        again = " ".join(["smskd sweep", shlex.quote(file), *map(shlex.quote, overrides), *options])
        display = Display(SafeConsole(), quiet=quiet)
        actions.begin_sweep(wanted, folder, storage, workers, display, again, beside)


def _join(
    url: str,
    name: str | None,
    out: Path | None,
    workers: int,
    beside: Beside | None,
    *,
    trust: bool,
    quiet: bool,
) -> None:
    if name is None:
        raise UserError("--join needs --name, the name of the sweep")
    from smskd.cli.printing import SafeConsole
    from smskd.cli.progress import Display
    from smskd.cli.sweep import join_sweep

    join_sweep(url, name, out, workers, Display(SafeConsole(), quiet=quiet), beside, trust=trust)
