"""The program: the commands, and one line for whatever ends them early."""

import sys
import traceback
from typing import NoReturn, cast

import typer

from smskd.cli.app import app
from smskd.cli.exits import INTERRUPTED, MISTAKE, end
from smskd.cli.streams import output_problem
from smskd.distributed import environment
from smskd.distributed.launch import LOST
from smskd.errors import UserError

UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""The exception of click, which typer bundles or, in older versions, imports."""

READER_GONE = 1
"""Exit code where nobody reads the output any more."""

_PRINTING = ("rich", "typer", "click")

_ALLOCATION = ("can't allocate memory", "not enough memory", "out of memory")
"""In the RuntimeError that PyTorch raises where memory does not suffice."""


def run_program() -> NoReturn:
    """Runs the command of ``sys.argv`` and ends the process with its exit code."""
    if "" not in sys.path:
        # Recipes may name a module in the working folder; installed modules take precedence.
        sys.path.append("")
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="smskd", standalone_mode=False)
    except UserError as error:
        end(str(error), MISTAKE)
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "smskd"
        end(f"{error.format_message()} (see: {command} --help)", MISTAKE)
    except OSError as error:
        if error.filename is not None:
            end(f"{error.filename}: {error.strerror}", MISTAKE)
        _end_of_writing(error if _while_printing(error) else None)
        end(f"{error.strerror or error}{_place(error)}", MISTAKE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if _interrupted(error):
            end("stopped", INTERRUPTED)
        message = _of_lost_workers(error) or _of_resources(error) or _of_lost_processes(error)
        if message is None:
            raise
        end(message, MISTAKE)
    if code == INTERRUPTED:
        end("stopped", INTERRUPTED)
    _leave()
    _end_of_writing()
    sys.exit(code)


def _of_lost_workers(error: Exception) -> str | None:
    """The line for a loader's worker of which PyTorch's signal handler tells while the program is ending already."""
    if not isinstance(error, RuntimeError) or not str(error).startswith("DataLoader worker"):
        return None
    seen: BaseException | None = error.__context__
    while seen is not None and not isinstance(seen, UserError):
        seen = seen.__context__
    return "a worker process of the data loader has ended: resume the run" if seen is None else str(seen)


def _leave() -> None:
    """Takes leave of the other processes of a job."""
    if environment.count() > 1:
        from smskd.distributed.processes import leave

        leave()


def _of_lost_processes(error: Exception) -> str | None:
    """The line for an error that says that another process of the job is gone; what has started them tells more."""
    if environment.count() == 1:
        return None
    from smskd.distributed.processes import lost_another

    if not lost_another(error):
        return None
    if environment.is_launched():
        sys.exit(LOST)
    return "another process of the job has ended; the run can be resumed (smskd resume)"


def _end_of_writing(known: OSError | None = None) -> None:
    """Ends the program if standard output cannot be written; quietly if its reader is gone."""
    problem = output_problem() or known
    if isinstance(problem, BrokenPipeError):
        sys.exit(READER_GONE)
    if problem is not None:
        end(f"standard output cannot be written: {problem.strerror}", MISTAKE)


def _while_printing(error: OSError) -> bool:
    """Whether an error comes from the libraries that print."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _PRINTING


def _interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is the cause: modules of C turn it into errors of their own while they are imported."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, KeyboardInterrupt):
        seen = seen.__cause__ or seen.__context__
    return seen is not None


def _of_resources(error: Exception) -> str | None:
    """The message for an error that says that the machine does not suffice; None for other errors."""
    reason = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _about_memory(reason)):
        return f"memory does not suffice{_place(error)}{f' ({reason})' if reason else ''}"
    if isinstance(error, RecursionError):
        return f"something is nested too deeply{_place(error)}"
    return None


def _about_memory(reason: str) -> bool:
    return any(words in reason for words in _ALLOCATION)


def _place(error: Exception) -> str:
    """`` in build (smskd.methods.crd)``: the innermost function of this package, or of the user's, in the traceback."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [(str(frame.f_globals.get("__name__", "")), frame.f_code.co_name) for frame in frames]
    own = [
        (module, name) for module, name in names if module.startswith("smskd.") and not module.startswith("smskd.cli")
    ]
    return f" in {own[-1][1]} ({own[-1][0]})" if own else ""
