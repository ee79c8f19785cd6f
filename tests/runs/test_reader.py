"""Runs are read from their folders; a damaged or unfinished one is a UserError of one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from smskd.errors import UserError
from smskd.runs.reader import find_runs, load_run
from tests.support.run_folders import THREE, VALIDATION_PEAK, sealed, write_run


def refusal(function: object, *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_has_the_contents_of_its_folder(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", name="three", seed=7, stages=THREE, top1=71.25)
    run = load_run(folder)
    assert (run.name, run.seed, run.plain) == ("three", 7, False)
    assert [entry["epoch"] for entry in run.metrics] == list(range(1, 31))
    assert run.metrics[-1]["test_top1"] == 71.25
    assert [stage["methods"] for stage in run.stages] == [["at", "sp"], ["fitnet"], ["dkd"]]
    assert run.recipe["name"] == "three"
    assert run.environment["cpu"] == {"threads": 2}


def test_a_run_without_methods_is_plain(tmp_path: Path) -> None:
    assert load_run(write_run(tmp_path / "run", stages=[[], []])).plain


def test_a_folder_stands_for_all_runs_below_it_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("b", "a"):
        for seed in (10, 2):
            write_run(tmp_path / name / f"seed{seed}", name=name, seed=seed)
    (tmp_path / "recipe.yaml").write_text("name: all\n")
    (tmp_path / "notes").mkdir()
    assert [(run.name, run.seed) for run in find_runs([tmp_path])] == [("a", 2), ("a", 10), ("b", 2), ("b", 10)]


def test_paths_keep_their_order_and_a_run_counts_once(tmp_path: Path) -> None:
    second, first = (write_run(tmp_path / name, name=name) for name in ("a", "b"))
    assert [run.name for run in find_runs([first, second, tmp_path])] == ["b", "a"]


def test_an_epoch_that_was_trained_again_replaces_the_first(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    again = sealed({**json.loads(lines[4]), "images_per_second": 99.0})
    (folder / "metrics.jsonl").write_text("\n".join([*lines[:5], again, *lines[5:]]) + "\n")
    metrics = load_run(folder).metrics
    assert len(metrics) == 20
    assert metrics[4]["images_per_second"] == 99.0


def test_no_such_folder(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    for function, argument in ((load_run, missing), (find_runs, [missing])):
        assert refusal(function, argument).startswith(f"{missing}: no such folder")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("")
    assert "this is a file" in refusal(find_runs, [file])


def test_no_run_in_the_folder(tmp_path: Path) -> None:
    assert "no run in this folder" in refusal(load_run, tmp_path)
    assert "no run in this folder or below it" in refusal(find_runs, [tmp_path])


@pytest.mark.parametrize("epoch_done", [True, False])
def test_the_error_of_an_unfinished_run_has_the_command_to_resume_it(tmp_path: Path, epoch_done: bool) -> None:
    folder = write_run(tmp_path / "my run", finished=False)
    if not epoch_done:
        (folder / "metrics.jsonl").unlink()
    for function, argument in ((load_run, folder), (find_runs, [tmp_path])):
        assert refusal(function, argument) == (f"{folder}: unfinished run; resume it with: smskd resume '{folder}'")


def test_a_damaged_line_is_named_with_its_number(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:6], lines[6][:30], *lines[7:]]))
    assert refusal(load_run, folder).startswith(f"{file}, line 7: damaged JSON")
    file.write_text("\n".join([*lines[:2], sealed({"epoch": 3})]))
    assert refusal(load_run, folder) == f"{file}, line 3: damaged: stage, losses, train_top1, test_top1 missing"
    file.write_text("\n")
    assert "it contains no epoch" in refusal(load_run, folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("summary.json", '{"format": 1,\n "name": }', "summary.json, line 2: damaged JSON"),
        ("summary.json", "[1]", "expected a JSON object, not list"),
        ("summary.json", '{"format": 1}', "format 1 is unknown; this version reads 2"),
        ("summary.json", sealed({"format": 2, "name": "x"}), "seed, seconds, epochs"),
        ("summary.json", '{"format": 3, "checksum": "of another kind"}', "format 3 is unknown; this version reads 2"),
        ("summary.json", '{"format": 2, "name": "x"}', "summary.json: damaged: its checksum is missing"),
        ("recipe.yaml", "name: x\nstages: [", "recipe.yaml, line 2: damaged YAML"),
        ("recipe.yaml", "- x", "expected a YAML mapping, not list"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / name).write_text(content)
    message = refusal(load_run, folder)
    assert words in message
    assert str(folder / name) in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    assert refusal(load_run, folder).startswith(f"{folder / 'metrics.jsonl'}: this file of the run is missing")


@pytest.mark.parametrize("content", [None, "", "{", "[]", "\x00", '{"torch": NaN}'])
def test_a_run_can_be_read_without_its_environment(tmp_path: Path, content: str | None) -> None:
    folder = write_run(tmp_path / "run")
    file = folder / "environment.json"
    file.unlink() if content is None else file.write_text(content)
    run = load_run(folder)
    assert run.environment == {}
    (problem,) = run.problems
    assert problem.startswith(str(file))
    assert problem.endswith("the environment of the run is unknown")


def test_reading_and_comparing_runs_does_not_import_torch() -> None:
    code = "import sys, smskd.runs.reader, smskd.analysis.tables; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_best_epoch_is_selected_by_validation(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", stages=THREE, top1=65.0, best=60.5))
    best = run.best()
    assert best is not None
    assert (best["epoch"], best["validation_top1"], best["test_top1"]) == (29, VALIDATION_PEAK, 60.5)
    of_stages = [run.best(stage) for stage in (1, 2, 3)]
    assert [entry and entry["epoch"] for entry in of_stages] == [9, 19, 29]
    student = run.summary["student"]
    assert (student["best_epoch"], student["top1_best"]) == (best["epoch"], best["test_top1"])


def test_of_equally_good_epochs_the_first_is_the_best(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", best=70.0))
    for entry in run.metrics[3:]:
        entry["validation_top1"] = 90.0  # type: ignore[index]
    best = run.best()
    assert best is not None
    assert best["epoch"] == 4


def test_without_a_validation_split_there_is_no_best_epoch(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run"))
    assert (run.has_validation, run.best(), run.best(1)) == (False, None, None)
    assert (run.summary["student"]["top1_best"], run.stages[0]["top1_best"]) == (None, None)


def test_epochs_of_pretraining(tmp_path: Path) -> None:
    assert load_run(write_run(tmp_path / "without")).pretraining == ()
    folder = write_run(tmp_path / "run", pretraining=["ab"])
    run = load_run(folder)
    assert [(line["method"], line["epoch"], line["losses"]["total"]) for line in run.pretraining] == [
        ("ab", 1, 4.0),
        ("ab", 2, 2.0),
        ("ab", 3, 1.0),
    ]
    (folder / "pretraining.jsonl").write_text(sealed({"epoch": 1}) + "\n")
    assert "pretraining.jsonl, line 1: damaged: stage, method, epochs, losses missing" in refusal(load_run, folder)
