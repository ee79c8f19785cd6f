"""Runs are read from their folders, and a damaged or unfinished one is told in one line."""

import ast
from pathlib import Path

import pytest
from tests.support.run_folders import THREE, write_run

import smskd.analysis
from smskd.errors import UserError
from smskd.runs.reader import find_runs, load_run


def refusal(function: object, *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_holds_what_its_folder_says(tmp_path: Path) -> None:
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
    again = lines[4].replace('"images_per_second": 4321.0', '"images_per_second": 99.0')
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
def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path, epoch_done: bool) -> None:
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
    file.write_text("\n".join([*lines[:2], '{"epoch": 3}']))
    assert refusal(load_run, folder).startswith(f"{file}, line 3: damaged: stage, losses")
    file.write_text("\n")
    assert "not one epoch" in refusal(load_run, folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("summary.json", '{"format": 1,\n "name": }', "summary.json, line 2: damaged JSON"),
        ("summary.json", "[1]", "a JSON object is expected, not list"),
        ("summary.json", '{"format": 2}', "format 2 is unknown; this version reads 1"),
        ("summary.json", '{"format": 1, "name": "x"}', "seed, seconds, epochs"),
        ("environment.json", "{", "environment.json, line 1: damaged JSON"),
        ("recipe.yaml", "name: x\nstages: [", "recipe.yaml, line 2: damaged YAML"),
        ("recipe.yaml", "- x", "a YAML mapping is expected, not list"),
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
    (folder / "environment.json").unlink()
    assert refusal(load_run, folder).startswith(f"{folder / 'environment.json'}: this file of the run is missing")


def test_analysis_never_imports_torch() -> None:
    files = list(Path(smskd.analysis.__path__[0]).glob("*.py"))
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
    own = {name for name in imported if name and name.startswith("smskd.") and "analysis" not in name}
    assert "yaml" in imported
    assert not any(name and name.split(".")[0] in {"torch", "torchvision"} for name in imported)
    assert own == {"smskd.errors"}
