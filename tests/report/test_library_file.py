"""The library of charts is made once; a file that is damaged or may be another's is not used."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from smskd.report import engine
from smskd.report.engine import library, vega_lite_version
from smskd.report.library_file import keep_library, kept_library, library_file


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A line for each library that an engine makes; the folder for caches is empty."""
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "cache"))
    lines: list[str] = []

    def run(request: object, files: list[str]) -> dict[str, bytes]:
        lines.append("made")
        return {file: f"script {len(lines)} \N{EN DASH}\r\n".encode() for file in files}

    monkeypatch.setattr(engine, "_run", run)
    library.cache_clear()
    yield lines
    library.cache_clear()


def again() -> str:
    """The library, as another process finds it."""
    library.cache_clear()
    return library()


def kept() -> Path:
    file = library_file(vega_lite_version())
    assert file is not None
    return file


def test_another_process_finds_it(made: list[str]) -> None:
    assert again() == again() == "script 1 \N{EN DASH}\r\n"
    assert made == ["made"]


def test_a_damaged_file_is_replaced(made: list[str]) -> None:
    first = again()
    kept().write_bytes(kept().read_bytes().replace(b"script", b"scribe"))
    assert again() != first
    assert again() == "script 2 \N{EN DASH}\r\n"
    for damage in (b"", b"\xff", kept().read_bytes()[:-1]):
        kept().write_bytes(damage)
        before = len(made)
        assert again() == again() == f"script {before + 1} \N{EN DASH}\r\n"


def test_a_file_that_others_may_write_is_not_used(made: list[str]) -> None:
    again()
    kept().chmod(0o664)
    assert kept_library(kept()) is None
    assert again() == "script 2 \N{EN DASH}\r\n"


def test_the_file_is_found_whatever_the_user_gives_to_a_group(made: list[str]) -> None:
    before = os.umask(0o002)
    try:
        assert again() == again() == "script 1 \N{EN DASH}\r\n"
    finally:
        os.umask(before)


def test_a_file_of_another_user_is_not_used(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    again()
    monkeypatch.setattr("os.getuid", lambda: -1)
    assert again() == "script 2 \N{EN DASH}\r\n"


def test_a_folder_that_cannot_be_written_is_no_error(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "below", "~nobody-of-this-name/cache"):
        monkeypatch.setenv("SMSKD_CACHE", str(folder))
        assert again().startswith("script")
    assert len(made) == 2


def test_another_version_of_the_engine_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path))
    files = {library_file("6.1"), library_file("6.2")}
    monkeypatch.setattr("smskd.report.library_file.version", lambda name: "0.0")
    assert len(files | {library_file("6.1")}) == 3
    keep_library(tmp_path / "a.js", "a")
    assert kept_library(tmp_path / "a.js") == "a"
