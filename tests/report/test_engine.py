"""The chart engine may die, hang or be missing: the page is written, and a note has the reason."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smskd.errors import UserError
from smskd.report import engine, engine_process
from smskd.report.accuracy_chart import accuracy_chart
from smskd.report.engine import EngineError, drawn, library
from smskd.report.page import write_run_report
from smskd.report.svg import save_svg
from smskd.runs.reader import load_run
from tests.support.run_folders import PLAIN, write_run

POINT = {
    "mark": "point",
    "data": {"values": [{"a": 1}]},
    "encoding": {"x": {"field": "a", "type": "quantitative"}},
}


@pytest.fixture
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library is fetched anew before and after the test, and is not found in a file."""
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "cache"))
    library.cache_clear()
    yield
    library.cache_clear()


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Another program in place of the engine."""
    file = tmp_path / "program.py"
    file.write_text(text)
    monkeypatch.setattr(engine_process, "__file__", str(file))


FAILURES = [
    ("import os; os.abort()", "the chart engine ended by SIGABRT"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGTRAP)", "the chart engine ended by SIGTRAP"),
    ("import nothing_of_this_name", "the chart engine failed: ModuleNotFoundError: No module named 'nothing_of_this"),
    ("raise SystemExit(3)", "the chart engine failed: exit code 3"),
    ("raise ValueError('a\\n\\x1b[31m' + 'x' * 5000)", "the chart engine failed: "),
    ("print('done')", "No such file"),
    ("import time; time.sleep(60)", "the chart engine took longer than 1 s"),
]


@pytest.mark.parametrize(("text", "reason"), FAILURES)
@pytest.mark.usefixtures("forgotten")
def test_the_page_is_written_whatever_happens_to_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    program(tmp_path, monkeypatch, text)
    monkeypatch.setattr(engine, "TIMEOUT_SECONDS", 1.0)
    folder = write_run(tmp_path / "run", name="plain", stages=PLAIN, epochs_per_stage=2)
    page = write_run_report(folder)
    assert page.path == folder / "report.html"
    html = page.path.read_text(encoding="utf-8")
    assert "Result" in html
    assert reason in html.replace("&#39;", "'")
    in_page, svg_files = page.notes
    assert reason in in_page
    assert in_page.endswith("Write it again with: smskd report")
    assert svg_files.startswith(f"{folder / 'charts'}: no SVG files of the charts (")
    for note in page.notes:
        assert note.isprintable()
        assert len(note) < 600
    assert not (folder / "charts").exists()


def test_a_later_report_has_the_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smskd.report.page.library", lambda: "")
    folder = write_run(tmp_path / "run", epochs_per_stage=2)
    with monkeypatch.context() as patch:
        program(tmp_path, patch, "raise SystemExit(1)")
        assert len(write_run_report(folder).notes) == 1
    assert write_run_report(folder).notes == ()
    assert {path.name for path in (folder / "charts").iterdir()} == {"accuracy.svg", "losses.svg"} | {
        "outcomes.svg",
        "forgetting.svg",
    }


def test_an_interpreter_that_is_gone_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EngineError, match="No such file or directory: '/nowhere/python'"):
        drawn({"a": POINT})


def test_a_folder_of_svgs_that_cannot_be_written_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smskd.report.page.library", lambda: "")
    folder = write_run(tmp_path / "run", epochs_per_stage=2)
    (folder / "charts").write_text("a file in the way")
    (note,) = write_run_report(folder).notes
    assert note.startswith(f"{folder / 'charts' / 'accuracy.svg'} cannot be written: ")
    with pytest.raises(UserError, match="cannot be written"):
        save_svg(accuracy_chart(load_run(folder)), folder / "charts" / "a.svg")


def test_modules_of_the_working_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "vl_convert", "pathlib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    assert drawn({"a": POINT})["a"].startswith(b"<svg")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a shell with ulimit")
def test_limited_memory_and_a_closed_input(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", epochs_per_stage=2)
    code = f"from smskd.report.page import write_run_report; print(*write_run_report({str(folder)!r}).notes, sep='\\n')"
    script = 'ulimit -v 4000000; exec "$0" -c "$1" <&-'
    done = subprocess.run(["bash", "-c", script, sys.executable, code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        f"{folder / 'charts'}: no SVG files of the charts (the chart engine ended by SIGTRAP)\n"
    )
    assert (folder / "report.html").is_file()


def test_names_are_visible_in_svgs() -> None:
    hostile = "a\x1b\x01\uffff\u202e<script>"
    specification = {**POINT, "title": hostile, "data": {"values": [{"a": 1, hostile: hostile}]}}
    svg = drawn({"x/../y": specification})["x/../y"].decode("utf-8")
    assert "a\\x1b\\x01\\uffff\\u202e&lt;script" in svg
    assert "<script" not in svg


def test_the_program_is_told_its_request(tmp_path: Path) -> None:
    request = {"vega_lite": engine.vega_lite_version(), "charts": {"0.svg": POINT}, "library": None}
    (tmp_path / engine_process.REQUEST).write_text(json.dumps(request))
    engine_process.main(tmp_path)
    assert (tmp_path / "0.svg").read_text().startswith("<svg")
