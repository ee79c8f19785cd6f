"""Charts as files, and the library that draws them in a browser, by a chart engine in a process of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import altair as alt

from smskd.analysis.visible import one_line, shortened
from smskd.report import engine_process
from smskd.report.library_file import keep_library, kept_library, library_file
from smskd.report.visible_strings import visible_strings

Form = Literal["svg", "pdf", "png"]

TIMEOUT_SECONDS = 120.0
"""After which the engine is ended."""

_LIBRARY = "library.js"

_REASON_LENGTH = 200
"""Characters of a reason."""


class EngineError(Exception):
    """The engine has not done what it was asked for; the message is the reason, in one line."""


def drawn(specifications: Mapping[str, dict[str, Any]], form: Form = "svg") -> dict[str, bytes]:
    """The file of each chart.

    Args:
        specifications: Vega-Lite specifications by name.
        form: of the files. PDF has its fonts embedded, PNG 300 pixels per inch.

    Raises:
        EngineError: the engine fails, crashes, is not installed, or takes longer than ``TIMEOUT_SECONDS``.
    """
    files = {name: f"{position}.{form}" for position, name in enumerate(specifications)}
    charts = {files[name]: visible_strings(specification) for name, specification in specifications.items()}
    found = _run({"charts": charts, "library": None}, list(files.values()))
    return {name: found[file] for name, file in files.items()}


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. It is kept in the user's folder for caches.

    Raises:
        EngineError: as in :func:`drawn`.
    """
    file = library_file(vega_lite_version())
    found = None if file is None else kept_library(file)
    if found is None:
        found = _run({"charts": {}, "library": _LIBRARY}, [_LIBRARY])[_LIBRARY].decode("utf-8")
        if file is not None:
            keep_library(file, found)
    return found


def vega_lite_version() -> str:
    """The version of Vega-Lite for which Altair writes specifications, as vl_convert names it: ``6.1``."""
    major, minor, *_ = alt.SCHEMA_VERSION.removeprefix("v").split(".")
    return f"{major}.{minor}"


def _run(request: dict[str, Any], files: list[str]) -> dict[str, bytes]:
    """The contents of the files that the engine writes for a request."""
    try:
        with TemporaryDirectory(prefix="smskd-charts-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            text = json.dumps({**request, "vega_lite": vega_lite_version()}, allow_nan=False)
            (folder / engine_process.REQUEST).write_text(text, encoding="utf-8")
            _call(folder)
            return {file: (folder / file).read_bytes() for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(_line(str(error))) from None


def _call(folder: Path) -> None:
    # -P: modules of the working folder are not imported by their names.
    command = [sys.executable, "-P", engine_process.__file__, str(folder)]
    errors = folder / "stderr"
    with errors.open("wb") as stderr:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"the chart engine took longer than {TIMEOUT_SECONDS:.0f} s") from None
    if done.returncode < 0:
        raise EngineError(f"the chart engine ended by {_signal(-done.returncode)}")
    if done.returncode:
        lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise EngineError(_line(f"the chart engine failed: {lines[-1] if lines else f'exit code {done.returncode}'}"))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _line(text: str) -> str:
    return shortened(one_line(text), _REASON_LENGTH)
