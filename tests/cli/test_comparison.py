"""`smskd compare` and `smskd report` with runs of which some cannot be read, and into files of all kinds."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from smskd.report import page
from tests.support.program import fine, mistake, smskd
from tests.support.run_folders import write_run


@pytest.fixture(autouse=True)
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that draws the charts takes seconds to build."""
    monkeypatch.setattr(page, "library", lambda: "")


@pytest.fixture
def mixed(here: Path) -> Path:
    """A folder with two good runs, a copy, and three that cannot be read."""
    for seed in range(2):
        write_run(here / "runs" / f"seed{seed}", seed=seed, epochs_per_stage=2)
    shutil.copytree(here / "runs" / "seed0", here / "runs" / "again")
    write_run(here / "runs" / "unfinished", finished=False, epochs_per_stage=2)
    for name, content in (("damaged", "{"), ("old", '{"format": 1}')):
        write_run(here / "runs" / name, epochs_per_stage=2)
        (here / "runs" / name / "summary.json").write_text(content)
    return Path("runs")


TOLD = [
    "left out: runs/damaged/summary.json, line 1: damaged JSON: Expecting property name enclosed in double quotes",
    "left out: runs/old/summary.json: format 1 is unknown; this version reads 2",
    "left out: runs/unfinished: unfinished run; resume it with: smskd resume runs/unfinished",
]
COPY = "runs/again and runs/seed0 are copies of one run (fitnet-kd, seed 0), which is counted once"


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"], ["--markdown"]])
def test_what_is_left_out_is_told_beside_the_table(mixed: Path, form: list[str]) -> None:
    outcome = smskd("compare", mixed, *form)
    assert outcome.code == 0
    assert outcome.err.splitlines() == [f"smskd: {line}" for line in [*TOLD, COPY]]
    if form == ["--json"]:
        assert json.loads(outcome.out)[0]["seeds"] == [0, 1]


def test_a_page_names_what_is_left_out(mixed: Path) -> None:
    outcome = smskd("report", mixed)
    assert (outcome.code, outcome.out) == (0, "runs/report.html\n")
    assert outcome.err.splitlines() == [f"smskd: {line}" for line in TOLD]
    html = (mixed / "report.html").read_text()
    assert all(line in html for line in [*TOLD, COPY])


@pytest.mark.parametrize("command", ["compare", "report"])
def test_without_any_finished_run_there_is_one_line(mixed: Path, command: str) -> None:
    assert mistake(command, mixed / "old", mixed / "unfinished") == (
        "runs/old/summary.json: format 1 is unknown; this version reads 2 (and 1 more without a finished run)"
    )
    assert not (mixed / "old" / "report.html").exists()


def test_a_run_without_its_page_gets_page_and_charts(mixed: Path) -> None:
    run = mixed / "seed0"
    (run / "environment.json").unlink()
    outcome = smskd("report", run)
    assert (outcome.code, outcome.out) == (0, "runs/seed0/report.html\n")
    assert "environment.json: this file of the run is missing; the environment of the run is unknown" in outcome.err
    assert (run / "charts" / "outcomes.svg").is_file()


def test_links_in_a_run_are_replaced_and_links_that_the_user_names_are_followed(mixed: Path, here: Path) -> None:
    (here / "mine").write_text("mine")
    (mixed / "report.html").symlink_to(here / "mine")
    smskd("report", mixed)
    assert (here / "mine").read_text() == "mine"
    assert not (mixed / "report.html").is_symlink()
    (here / "link.html").symlink_to("target.html")
    assert smskd("report", mixed, "--out", "link.html").out == "link.html\n"
    assert "<html" in (here / "target.html").read_text()
    assert (here / "link.html").is_symlink()


def test_a_page_into_a_pipe_comes_alone(mixed: Path, here: Path) -> None:
    os.mkfifo("pipe")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append((here / "pipe").read_text()))
    reader.start()
    assert fine("report", mixed / "seed0", "--out", "pipe") == ""
    reader.join(30)
    assert found[0].endswith("</html>\n") or found[0].endswith("</html>")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line(mixed: Path) -> None:
    assert mistake("report", mixed / "seed0", "--out", "/dev/full") == (
        "/dev/full cannot be written: No space left on device"
    )


def test_names_reach_the_terminal_as_text(here: Path) -> None:
    write_run(here / "a\x1b[31m", name="a\x1b[31m", finished=False)
    write_run(here / "b", name="b\x1b]0;title\x07", epochs_per_stage=2)
    outcome = smskd("compare", here)
    assert outcome.code == 0
    assert not {"\x1b", "\x07"} & {*outcome.out, *outcome.err}
    assert "a\\x1b[31m: unfinished run" in outcome.err
    assert "b\\x1b]0;title\\x07" in outcome.out
