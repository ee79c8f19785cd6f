"""`smskd train`: its output and its files."""

import json
import re
from pathlib import Path

import pytest
import yaml

from smskd import train as smskd_train
from smskd.cli import train
from smskd.recipe import read, to_yaml
from smskd.recipe.absolute_paths import absolute_paths
from smskd.strategies.resolve import resolve
from smskd.training import host
from tests.support.program import TINY, everything_in, fine, mistake, same_weights, smskd

FILES = {"recipe.yaml", "environment.json", "metrics.jsonl", "summary.json", "student.safetensors", "report.html"}


def test_a_plain_line_an_epoch_and_one_at_the_end(here: Path) -> None:
    lines = fine("train", "digits/teacher", *TINY).splitlines()
    assert len(lines) == 4
    assert lines[0] == "teacher seed 0  begins with epoch 1 of 2"
    assert lines[1].startswith("teacher seed 0  epoch 1  stage 1  lr 0.05  total ")
    assert lines[2].startswith("teacher seed 0  epoch 2  stage 1  lr 0.005  total ")
    summary = json.loads((here / "runs" / "teacher" / "summary.json").read_text())
    page = Path("runs/teacher/report.html")
    assert lines[3] == f"teacher seed 0: top-1 {summary['student']['top1_last']:.2f}% (last epoch)  {page}"
    assert page.is_file()


def test_with_a_validation_split_the_best_epoch_is_selected_on_it(here: Path) -> None:
    words = ("train", "digits/teacher", *TINY, "data.validation.count=32", "training.epochs=3", "--out", "r")
    lines = fine(*words).splitlines()
    metrics = [json.loads(line) for line in Path("r/metrics.jsonl").read_text().splitlines()]
    best = max(metrics, key=lambda entry: entry["validation_top1"])
    assert f"  validation {metrics[0]['validation_top1']:.2f}%" in lines[1]
    summary = json.loads(Path("r/summary.json").read_text())
    student = summary["student"]
    assert summary["data"]["validation_samples"] == 32
    assert (student["best_epoch"], student["top1_best"]) == (best["epoch"], best["test_top1"])
    assert f"{best['test_top1']:.2f}% (best epoch by validation)" in lines[-1]
    assert "best epoch by validation" in Path("r/report.html").read_text()
    (row,) = json.loads(fine("compare", "r", "--json"))
    assert row["top1_best_mean"] == best["test_top1"]


def test_what_is_on_disk(runs: Path) -> None:
    assert sorted(path.name for path in runs.iterdir()) == ["seed0", "seed1"]
    for seed in ("seed0", "seed1"):
        assert {path.name for path in (runs / seed).iterdir()} == {*FILES, "charts", "stages"}
        assert (runs / seed / "stages" / "1" / "student.safetensors").is_file()
    summaries = [json.loads((runs / f"seed{seed}" / "summary.json").read_text()) for seed in (0, 1)]
    assert [summary["seed"] for summary in summaries] == [0, 1]
    assert summaries[0]["student"] != summaries[1]["student"]


def test_quiet(here: Path) -> None:
    assert fine("train", "digits/teacher", *TINY, "--quiet") == ""


def test_json_is_the_summary_and_nothing_else(here: Path) -> None:
    printed = json.loads(fine("train", "digits/teacher", *TINY, "--json"))
    stored = json.loads(Path("runs/teacher/summary.json").read_text())
    assert stored.pop("checksum")
    assert printed == stored


def test_json_of_seeds_is_a_list_even_of_one(here: Path) -> None:
    printed = json.loads(fine("train", "digits/teacher", *TINY, "--json", "--seeds", "7"))
    assert [summary["seed"] for summary in printed] == [7]
    assert Path("runs/teacher/seed7/summary.json").is_file()


def test_the_recipe_on_disk_is_resolved_and_its_paths_are_absolute(
    here: Path, taught: tuple[str, ...], teacher: Path
) -> None:
    (here / "teacher").symlink_to(teacher)
    words = [word for word in taught if not word.startswith("teacher.weights")]
    fine("train", "digits/kd", *words, "teacher.weights=teacher", "--out", "r", "-q")
    recipe = read(here / "r" / "recipe.yaml")
    assert recipe.teacher is not None
    assert recipe.teacher.weights == str(teacher.resolve())
    assert recipe.stages is not None
    assert recipe.stages[0].ends_after == 2


def test_the_root_of_the_data_becomes_absolute(here: Path) -> None:
    shown = yaml.safe_load(fine("recipe", "cifar10/teachers/resnet20", "data.source.root=there"))
    assert shown["data"]["source"]["root"] == "there"
    recipe = absolute_paths(read("cifar10/teachers/resnet20", ["data.source.root=there"]))
    assert recipe.data.source.options["root"] == str(here / "there")


def test_the_same_seed_gives_the_same_run(here: Path, runs: Path, taught: tuple[str, ...]) -> None:
    fine("train", "digits/fitnet-kd", *taught, "runtime.seed=1", "--out", "again", "-q")
    assert same_weights(here / "again" / "student.safetensors", runs / "seed1" / "student.safetensors")


def test_a_name_with_brackets_is_not_markup(here: Path) -> None:
    printed = fine("train", "digits/teacher", *TINY, "name='[bold]x'", "--out", "[red]r")
    assert printed.count("[bold]x seed 0") == 4
    assert "[red]r/report.html" in printed


def test_a_module_in_the_working_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "my_own_net.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, num_classes))\n"
    )
    monkeypatch.syspath_prepend(here)
    fine("train", "digits/plain", *TINY, "student=my_own_net:net", "--out", "r", "-q")
    assert json.loads(Path("r/summary.json").read_text())["student"]["model"] == "my_own_net:net"
    assert "add --trust" in mistake("eval", "r")
    assert fine("eval", "r", "--trust")


def test_recipe_prints_what_train_writes(here: Path) -> None:
    words = ("digits/teacher", *TINY)
    shown = fine("recipe", *words)
    (here / "shown.yaml").write_text(shown)
    assert fine("recipe", "shown.yaml") == shown
    fine("train", *words, "-q", "--out", "direct")
    fine("train", "shown.yaml", "-q", "--out", "indirect")
    assert (here / "direct" / "recipe.yaml").read_text() == (here / "indirect" / "recipe.yaml").read_text() == shown
    assert same_weights(here / "direct" / "student.safetensors", here / "indirect" / "student.safetensors")
    assert to_yaml(resolve(read("shown.yaml")).as_mapping()) == shown


def test_a_folder_with_another_run_is_not_changed(here: Path, runs: Path) -> None:
    before = everything_in(runs)
    for words in (("--out", runs / "seed0"), ("--out", runs, "--seeds", "5,1")):
        message = mistake("train", "digits/teacher", *TINY, *words)
        assert "holds another run; choose another folder with --out, or resume that run: smskd resume" in message
    assert "contains runs of several seeds" in mistake("train", "digits/teacher", *TINY, "--out", runs)
    message = mistake("train", "digits/teacher", *TINY, "--out", runs / "seed0", "--seeds", "0,1")
    assert "contains a run without --seeds" in message
    assert everything_in(runs) == before


def test_other_files_in_the_folder_stay(here: Path) -> None:
    (here / "r").mkdir()
    (here / "r" / "notes.txt").write_text("mine")
    mistake("train", "digits/teacher", *TINY, "student.name=nosuch", "--out", "r")
    assert everything_in(here / "r") == {"notes.txt": b"mine"}
    fine("train", "digits/teacher", *TINY, "--out", "r", "-q")
    assert (here / "r" / "notes.txt").read_text() == "mine"


def test_a_diverging_loss_leaves_the_finished_epochs(here: Path) -> None:
    words = ("train", "digits/teacher", *TINY, "training.epochs=9", "optimizer.learning_rate=1e12")
    outcome = smskd(*words, "--seeds", "0,1")
    assert outcome.code == 2
    message = r"smskd: 2 of 2 runs could not be trained: .+: lower optimizer\.learning_rate\n"
    assert re.fullmatch(message, outcome.err)
    assert "all losses of which were finite" in outcome.err or "the loss is no longer finite" in outcome.err
    assert outcome.err.count("\n") == 1
    seeds = sorted(path.parent.name for path in here.rglob("recipe.yaml"))
    # Runs with at least one epoch stay, others are discarded.
    assert seeds == (["seed0", "seed1"] if list(here.rglob("metrics.jsonl")) else [])


def test_the_program_and_not_the_library_changes_the_allocator(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    monkeypatch.setattr(train, "keep_freed_memory", lambda device: devices.append(str(device)))
    fine("train", "digits/teacher", *TINY, "--seeds", "0,1", "-q")
    assert devices == ["cpu", "cpu"]
    monkeypatch.setattr(host, "keep_freed_memory", lambda device: pytest.fail("called by the library"))
    smskd_train(read("digits/teacher", TINY), out=here / "library")
