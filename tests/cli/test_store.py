"""`runtime.store` and `smskd store`: stages are trained once, listed and removed."""

import json
import os
from pathlib import Path

import pytest

from tests.support.program import TINY, fine, mistake

TRAINING = (
    *TINY[:-3],
    "training.epochs=2",
    "schedule.decay_at=[1]",
    "runtime.device=cpu",
    "student.name=resnet8_w2",
    "teacher.name=resnet8_w4",
    "--quiet",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with a first stage in common."""
    folder = tmp_path_factory.mktemp("runs")
    teacher, store = folder / "teacher", folder / "store"
    fine("train", "digits/teacher", *TINY, "student.name=resnet8_w4", "--out", teacher, "--quiet")
    for name, methods in (("kd", "fitnet,kd"), ("sp", "fitnet,sp")):
        shared = (f"teacher.weights={teacher}", f"runtime.store={store}", f"methods={methods}")
        fine("train", "digits/fitnet-kd", *TRAINING, *shared, "--out", folder / name)
    return store


def test_what_two_runs_have_in_common_is_trained_once(store: Path) -> None:
    stages = json.loads((store.parent / "sp" / "summary.json").read_text(encoding="utf-8"))["stages"]
    assert [stage["stored"] is not None for stage in stages] == [True, False]
    listed = json.loads(fine("store", store, "--json"))
    assert sorted(entry["methods"] for entry in listed) == [["fitnet"], ["fitnet", "kd"], ["fitnet", "sp"]]
    assert {entry["parent"] for entry in listed if len(entry["methods"]) == 2} == {stages[0]["stored"]["digest"]}


def test_the_list(store: Path) -> None:
    lines = fine("store", store).splitlines()
    assert lines[0].split()[:3] == ["stages", "seed", "epochs"]
    assert sum("fitnet → " in line for line in lines) == 2
    assert lines[-1].startswith("3 stages, ")


def test_the_time_of_what_was_taken_is_compared(store: Path) -> None:
    summary = json.loads((store.parent / "sp" / "summary.json").read_text(encoding="utf-8"))
    (row,) = json.loads(fine("compare", store.parent / "sp", "--json"))
    assert row["seconds"] == pytest.approx(summary["seconds"] + summary["stages"][0]["stored"]["seconds"])


def copied(store: Path, folder: Path) -> Path:
    folder.mkdir()
    for place, file in enumerate(sorted(store.glob("*.safetensors"))):
        (folder / file.name).write_bytes(file.read_bytes())
        os.utime(folder / file.name, (1e9 + place, 1e9 + place))
    return folder


def test_pruning_leaves_what_others_are_built_on(store: Path, tmp_path: Path) -> None:
    own = copied(store, tmp_path / "store")
    sizes = {tuple(entry["methods"]): entry["bytes"] for entry in json.loads(fine("store", own, "--json"))}
    assert fine("store", own, "--keep", str(sum(sizes.values()) - 1)).startswith("1 stage removed, ")
    left = [entry["methods"] for entry in json.loads(fine("store", own, "--json"))]
    assert ["fitnet"] in left
    assert len(left) == 2
    assert "0 stages left, 0 bytes" in fine("store", own, "--unused", "1")


def test_pruning_removes_what_is_damaged(store: Path, tmp_path: Path) -> None:
    own = copied(store, tmp_path / "store")
    next(own.iterdir()).write_bytes(b"nothing")
    assert "damaged" in fine("store", own)
    assert fine("store", own, "--keep", "1TB").startswith("1 stage removed, 7 bytes; 2 stages left, ")


def test_mistakes(tmp_path: Path) -> None:
    assert mistake("store", tmp_path / "nothing") == f"{tmp_path}/nothing: no such folder"
    assert mistake("store", tmp_path, "--keep", "much") == "'much' must be a size in bytes, such as 500MB or 16GB"
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    message = mistake("train", "digits/plain", *TINY, f"runtime.store={file}", "--out", tmp_path / "run", "--quiet")
    assert message == f"runtime.store: {file} is a file; the store of stages is a folder"
    assert not (tmp_path / "run").exists()
