"""Files that the user names: links are followed, devices and pipes written to, and errors are one line."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from smskd.errors import UserError
from smskd.runs.atomic_files import is_stream, write_output


def test_a_regular_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "page.html"
    for text in ("one", "two"):
        write_output(file, text)
        assert file.read_text() == text
    assert [path.name for path in file.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if exists:
        target.write_text("old")
    link.symlink_to(target)
    write_output(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_output(pipe, "through")
    reader.join(30)
    assert found == ["through"]
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_devices(tmp_path: Path) -> None:
    write_output(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(UserError, match="/dev/full cannot be written: No space left on device"):
        write_output(Path("/dev/full"), "x" * 100_000)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left on device"):
        write_output(tmp_path / "full", "x" * 100_000)
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("redirected", [True, False])
def test_standard_output(tmp_path: Path, redirected: bool) -> None:
    code = "from pathlib import Path; from smskd.runs.atomic_files import *; path = Path('/dev/stdout'); "
    code += "write_output(path, 'page'); assert is_stream(path)"
    command = [sys.executable, "-c", code]
    if not redirected:
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "page"
        return
    with (tmp_path / "out").open("w") as file:
        subprocess.run(command, stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "page"


def test_mistakes_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "a", tmp_path / "file" / "page.html", tmp_path):
        with pytest.raises(UserError, match=f"{path}.* cannot be written: "):
            write_output(path, "text")


def test_what_is_a_stream(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert [is_stream(path) for path in (tmp_path, tmp_path / "file", tmp_path / "no", Path("/dev/null"))] == [
        False,
        False,
        False,
        True,
    ]
