"""Runs whose stages are in a store end as if they had trained all of them, bit by bit."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from smskd.runs.folder import RunFolder
from smskd.stage_store.pruning import listed
from tests.support import run_cases, tiny
from tests.support.kills import Killed, Killer
from tests.support.stored import Make, files, outcome, reports, taken_stages, trained_epochs

CASES: list[Make] = [
    run_cases.three_stages,
    run_cases.other_choices,
    run_cases.pretraining_phases,
    run_cases.ft,
    run_cases.simkd,
    run_cases.ewc,
    run_cases.l2_sp,
]


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_all_stages_from_the_store(make: Make, tmp_path: Path) -> None:
    store = tmp_path / "store"
    reports(make(), tmp_path / "without", None)
    first = reports(make(), tmp_path / "first", store)
    second = reports(make(), tmp_path / "second", store)
    stages = len(tiny.summary(tmp_path / "first")["stages"])
    assert trained_epochs(first) == list(range(1, trained_epochs(first)[-1] + 1))
    assert (trained_epochs(second), taken_stages(second)) == ([], list(range(1, stages + 1)))
    assert outcome(tmp_path / "first") == outcome(tmp_path / "without")
    assert outcome(tmp_path / "second") == outcome(tmp_path / "without")
    assert len(files(store)) == stages


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_the_last_stages_are_trained_after_the_first_from_the_store(make: Make, tmp_path: Path) -> None:
    store = tmp_path / "store"
    reports(make(), tmp_path / "first", store)
    stages = tiny.summary(tmp_path / "first")["stages"]
    for kept in range(1, len(stages)):
        _remove_all_but(store, kept)
        again = reports(make(), tmp_path / f"after-{kept}", store)
        assert taken_stages(again) == list(range(1, kept + 1))
        assert trained_epochs(again)[0] == stages[kept]["epochs"][0]
        assert outcome(tmp_path / f"after-{kept}") == outcome(tmp_path / "first")


def _remove_all_but(store: Path, kept: int) -> None:
    """Leaves the first stages alone in the store."""
    for entry in listed(store):
        if entry.stages > kept:
            entry.file.unlink()


MOMENTS = [
    *(("after metrics", time) for time in (1, 2, 3, 6)),
    *(("in the middle of a line", time) for time in (1, 4)),
    *(("in the middle of checkpoint.safetensors", time) for time in (1, 2)),
    *(("after a checkpoint", time) for time in (1, 3)),
    *(("before the end of a stage", time) for time in (1, 3)),
    *(("after a student", time) for time in (1, 3, 4)),
    ("in the middle of summary.json", 1),
    ("after the summary", 1),
]


@pytest.mark.parametrize(("moment", "time"), MOMENTS, ids=str)
def test_killed_while_stages_are_taken(
    moment: str, time: int, whole: dict[str, Any], killer: Killer, tmp_path: Path
) -> None:
    shutil.copytree(whole["store"], tmp_path / "store")
    killer.moment, killer.time = moment, time
    with pytest.raises(Killed):
        reports(run_cases.three_stages(), tmp_path / "run", tmp_path / "store")
    reports(run_cases.three_stages(), tmp_path / "run", tmp_path / "store")
    assert outcome(tmp_path / "run") == whole["outcome"]


@pytest.mark.parametrize("moment", [("a step", 3), ("after metrics", 3), ("after a checkpoint", 3)], ids=str)
def test_a_run_that_was_killed_within_a_stage_takes_it_when_another_has_trained_it(
    moment: tuple[str, int], whole: dict[str, Any], killer: Killer, tmp_path: Path
) -> None:
    killer.moment, killer.time = moment
    with pytest.raises(Killed):
        reports(run_cases.three_stages(), tmp_path / "run", tmp_path / "store")
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    shutil.copytree(whole["store"], tmp_path / "store")
    again = reports(run_cases.three_stages(), tmp_path / "run", tmp_path / "store")
    assert trained_epochs(again) == []
    assert outcome(tmp_path / "run") == whole["outcome"]


def test_a_killed_run_puts_its_stages_into_the_store_when_it_is_resumed(
    whole: dict[str, Any], killer: Killer, tmp_path: Path
) -> None:
    killer.moment, killer.time = "after a checkpoint", 2  # the last of the first stage
    with pytest.raises(Killed):
        reports(run_cases.three_stages(), tmp_path / "run", tmp_path / "store")
    assert files(tmp_path / "store") == []
    again = reports(run_cases.three_stages(), tmp_path / "run", tmp_path / "store")
    assert trained_epochs(again) == [3, 4, 5, 6]
    assert [file.name for file in files(tmp_path / "store")] == [file.name for file in files(whole["store"])]
    assert outcome(tmp_path / "run") == whole["outcome"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_stage_is_trained_anew_with_a_note(place: int, whole: dict[str, Any], tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole["store"], store)
    file = next(entry.file for entry in listed(store) if entry.stages == place + 1)
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    found = reports(run_cases.three_stages(), tmp_path / "run", store)
    first = 2 * place + 1
    assert trained_epochs(found) == [first, first + 1]
    (note,) = [note for note in tiny.summary(tmp_path / "run")["notes"] if "trained anew" in note]
    assert note == f"Stage {place + 1} is trained anew: {file} is damaged (its content does not match its digest)."
    again = reports(run_cases.three_stages(), tmp_path / "again", store)
    assert trained_epochs(again) == []
    assert outcome(tmp_path / "again") == whole["outcome"]


def test_the_summary_and_the_metrics_tell_what_was_taken(whole: dict[str, Any], tmp_path: Path) -> None:
    found = tiny.summary(whole["run"])
    assert [stage["stored"] for stage in found["stages"]] == [None] * 3
    reports(run_cases.three_stages(), tmp_path / "run", whole["store"])
    taken = tiny.summary(tmp_path / "run")
    seconds = [line["seconds"] for line in tiny.metrics(whole["run"])]
    for place, stage in enumerate(taken["stages"]):
        assert stage["stored"]["seconds"] == pytest.approx(sum(seconds[2 * place : 2 * place + 2]))
        assert (whole["store"] / f"{stage['stored']['digest']}.safetensors").exists()
    assert taken["seconds"] == 0.0
    assert [line["stored"] for line in tiny.metrics(tmp_path / "run")] == [True] * 6


def test_nothing_is_missing_in_the_folder(whole: dict[str, Any], tmp_path: Path) -> None:
    reports(run_cases.three_stages(), tmp_path / "run", whole["store"])
    assert RunFolder(tmp_path / "run").damages() == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of three stages, and the store with all of them."""
    folder = tmp_path_factory.mktemp("whole")
    reports(run_cases.three_stages(), folder / "run", folder / "store")
    return {"run": folder / "run", "store": folder / "store", "outcome": outcome(folder / "run")}
