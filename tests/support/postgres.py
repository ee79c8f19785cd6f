"""A PostgreSQL server for tests, started from the binaries of this machine."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USUAL = Path("/usr/lib/postgresql")
_UNPRIVILEGED = "nobody"
"""The server refuses to run as root."""


def binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres``; None if they are not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(_USUAL.glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a database of a new server, which is stopped afterwards."""
    folder = binaries()
    assert folder is not None
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="smskd-postgres-"))
    try:
        if user:
            shutil.chown(place, user)
        port = _free_port()
        _run(place, user, folder / "initdb", "-D", place / "data", "-U", "tester", "-A", "trust", "-N")
        options = f"-p {port} -k {place} -c listen_addresses=127.0.0.1 -c fsync=off"
        control = (folder / "pg_ctl", "-D", place / "data", "-w", "-t", "60")
        _run(place, user, *control, "-o", options, "-l", place / "log", "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            _run(place, user, *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(place: Path, user: str | None, *command: object) -> None:
    environment = {**os.environ, "HOME": str(place)}
    words = [str(word) for word in command]
    subprocess.run(words, user=user, cwd=place, check=True, capture_output=True, env=environment)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
