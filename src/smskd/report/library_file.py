"""The browser's library of charts, kept in a file: making it takes the chart engine some seconds."""

import hashlib
import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from smskd.config.cache import default_folder
from smskd.errors import UserError
from smskd.runs.atomic_files import write_text

_OTHERS_MAY_WRITE = 0o022


def library_file(vega_lite: str) -> Path | None:
    """Where the library of this version of Vega-Lite and of the chart engine is kept; None without an engine."""
    try:
        return default_folder() / "charts" / f"library-{version('vl-convert-python')}-{vega_lite}.js"
    except (PackageNotFoundError, UserError):
        return None


def kept_library(file: Path) -> str | None:
    """The library in a file.

    Returns:
        None where there is none, it is damaged, or somebody else may have written it: it becomes a part of pages.
    """
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if status.st_mode & _OTHERS_MAY_WRITE or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
                return None
            digest, _, text = opened.read().decode("utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if digest == _first_line(text) else None


def keep_library(file: Path, text: str) -> None:
    """Writes the library to a file where that is possible."""
    with suppress(UserError, OSError):
        write_text(file, f"{_first_line(text)}\n{text}")
        file.chmod(file.stat().st_mode & ~_OTHERS_MAY_WRITE)


def _first_line(text: str) -> str:
    return f"// SHA-256 {hashlib.sha256(text.encode('utf-8')).hexdigest()}"
