"""Processes of the command line that are killed with SIGKILL, and `smskd resume`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import smskd
from smskd import session
from smskd.models import save_weights
from smskd.recipe import read
from smskd.report.page import Page
from tests.support import tiny
from tests.support.program import fine

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")

KILLED = """
import json, os, signal, sys
import smskd.cli.train
from smskd.cli import main

kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
recipe, *runs = json.loads(sys.argv[1])
for moment, folder in runs:
    child = os.fork()
    if child == 0:
        exec(moment)
        sys.argv = ["smskd", "train", recipe, "--out", folder]
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""A process for each moment, forked before the first computation: torch is imported once."""

MOMENTS = {
    "after the third line of metrics": """
from smskd.runs.folder import RunFolder
append = RunFolder.append_metrics
def appending(self, line):
    append(self, line)
    if len((self.path / "metrics.jsonl").read_text().splitlines()) == 3:
        kill()
RunFolder.append_metrics = appending
""",
    "while the fourth checkpoint is written": """
import safetensors.torch, smskd.runs.atomic_files
replace, written = os.replace, []
def replacing(source, target):
    written.extend([target] if target.name == "checkpoint.safetensors" else [])
    if len(written) == 4:
        os.truncate(source, 1000)
        kill()
    replace(source, target)
smskd.runs.atomic_files.os.replace = replacing
""",
    "between two stages": """
from smskd.runs.folder import RunFolder
save = RunFolder.save_student
def saving(self, *arguments):
    save(self, *arguments)
    if (self.path / "stages" / "2").exists():
        kill()
RunFolder.save_student = saving
""",
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    save_weights(tiny.teacher(), folder / "teacher.safetensors")
    value = {
        "name": "killed",
        "data": {
            "source": "digits",
            "subset": {"train": tiny.TRAIN, "test": tiny.TEST},
            "validation": {"fraction": 0.3},
        },
        "teacher": {"name": "resnet8_w4", "weights": str(folder / "teacher.safetensors")},
        "student": "resnet8_w2",
        "training": {"epochs": 6, "batch_size": tiny.BATCH},
        "schedule": {"decay_at": [2, 4]},
        "runtime": {"device": "cpu", "seed": 7},
        "stages": [
            {"methods": ["fitnet"], "reference": "best"},
            {"methods": [{"name": "crd", "negatives": 12, "feature_dim": 8}], "carry": "ema"},
            {"methods": ["kd"]},
        ],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def uninterrupted(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = session.begin(read(recipe), tmp_path_factory.mktemp("uninterrupted") / "run")
    tiny.trained(run.build(), run.folder.path)
    return run.folder.path


@pytest.fixture(scope="module")
def killed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a run that was killed, for each moment."""
    folder = tmp_path_factory.mktemp("killed")
    runs = {moment: folder / moment.replace(" ", "-") for moment in MOMENTS}
    words = [str(recipe), *((MOMENTS[moment], str(run)) for moment, run in runs.items())]
    source = str(Path(smskd.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, json.dumps(words)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    codes = [line for line in process.stdout.splitlines() if line.removeprefix("-").isdigit()]
    assert codes == [str(-signal.SIGKILL)] * len(MOMENTS), process.stderr
    return runs


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.replace(" ", "-"))
def test_resume_after_sigkill(
    moment: str, killed: dict[str, Path], uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed[moment]
    assert (run / "checkpoint.safetensors").exists()
    assert not (run / "summary.json").exists()
    if "checkpoint" in moment:
        assert list(run.glob(".*.tmp")), "the kill has to leave a file half written"

    monkeypatch.setattr(session, "write_run_report", Page)
    fine("resume", run)
    assert tiny.outcome(run) == tiny.outcome(uninterrupted)
    assert not (run / "checkpoint.safetensors").exists()
