"""`smskd train`: what it prints, what it leaves on disk."""

import json
from pathlib import Path

import pytest
import yaml

from smskd.recipe import read, to_yaml
from tests.support.program import TINY, everything_in, fine, mistake, same_weights, smskd

FILES = {"recipe.yaml", "environment.json", "metrics.jsonl", "summary.json", "student.safetensors", "report.html"}


def test_a_plain_line_an_epoch_and_one_at_the_end(here: Path) -> None:
    lines = fine("train", "digits/teacher", *TINY).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("teacher seed 0  epoch 1  stage 1  lr 0.05  total ")
    assert lines[1].startswith("teacher seed 0  epoch 2  stage 1  lr 0.005  total ")
    summary = json.loads((here / "runs" / "teacher" / "summary.json").read_text())
    last, best = summary["student"]["top1_last"], summary["student"]["top1_best"]
    page = Path("runs/teacher/report.html")
    assert lines[2] == f"teacher seed 0: top-1 {last:.2f}% (last epoch), {best:.2f}% (best)  {page}"
    assert page.is_file()


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
    assert printed == json.loads(Path("runs/teacher/summary.json").read_text())


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
    assert recipe.stages[0].until == 2


def test_the_root_of_the_data_becomes_absolute(here: Path) -> None:
    shown = yaml.safe_load(fine("recipe", "cifar10/teachers/resnet20", "data.root=there"))
    assert shown["data"]["root"] == "there"
    fine("train", "digits/teacher", *TINY, "data.root=there", "-q")
    assert read("runs/teacher/recipe.yaml").data.root == str(here / "there")


def test_the_same_seed_gives_the_same_run(here: Path, runs: Path, taught: tuple[str, ...]) -> None:
    fine("train", "digits/fitnet-kd", *taught, "seed=1", "--out", "again", "-q")
    assert same_weights(here / "again" / "student.safetensors", runs / "seed1" / "student.safetensors")


def test_a_name_with_brackets_is_not_taken_for_markup(here: Path) -> None:
    printed = fine("train", "digits/teacher", *TINY, "name='[bold]x[/bold]'", "--out", "[red]r")
    assert printed.count("[bold]x[/bold] seed 0") == 3
    assert "[red]r/report.html" in printed


def test_a_module_of_ones_own_in_the_working_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "my_own_net.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, num_classes))\n"
    )
    monkeypatch.syspath_prepend(here)
    fine("train", "digits/plain", *TINY, "student=my_own_net:net", "--out", "r", "-q")
    assert json.loads(Path("r/summary.json").read_text())["student"]["model"] == "my_own_net:net"
    assert fine("eval", "r")


def test_recipe_prints_what_train_writes(here: Path) -> None:
    words = ("digits/teacher", *TINY)
    shown = fine("recipe", *words)
    (here / "shown.yaml").write_text(shown)
    assert fine("recipe", "shown.yaml") == shown
    fine("train", *words, "-q", "--out", "direct")
    fine("train", "shown.yaml", "-q", "--out", "indirect")
    assert (here / "direct" / "recipe.yaml").read_text() == (here / "indirect" / "recipe.yaml").read_text() == shown
    assert same_weights(here / "direct" / "student.safetensors", here / "indirect" / "student.safetensors")
    assert to_yaml(read("shown.yaml")) == shown


def test_a_folder_that_holds_another_run_is_left_as_it_is(here: Path, runs: Path) -> None:
    before = everything_in(runs)
    for words in (("--out", runs / "seed0"), ("--out", runs, "--seeds", "5,1")):
        message = mistake("train", "digits/teacher", *TINY, *words)
        assert "holds another run; choose another folder with --out, or go on with that run: smskd resume" in message
    assert "holds runs of several seeds" in mistake("train", "digits/teacher", *TINY, "--out", runs)
    message = mistake("train", "digits/teacher", *TINY, "--out", runs / "seed0", "--seeds", "0,1")
    assert "holds a run without --seeds" in message
    assert everything_in(runs) == before


def test_what_lay_in_the_folder_before_stays(here: Path) -> None:
    (here / "r").mkdir()
    (here / "r" / "notes.txt").write_text("mine")
    mistake("train", "digits/teacher", *TINY, "student.model=nosuch", "--out", "r")
    assert everything_in(here / "r") == {"notes.txt": b"mine"}
    fine("train", "digits/teacher", *TINY, "--out", "r", "-q")
    assert (here / "r" / "notes.txt").read_text() == "mine"


def test_a_loss_that_explodes_leaves_the_epochs_that_were_done(here: Path) -> None:
    outcome = smskd("train", "digits/teacher", *TINY, "epochs=9", "optimizer.learning_rate=1e12", "--seeds", "0,1")
    assert outcome.code == 2
    assert outcome.err.startswith("smskd: the loss is no longer finite in epoch ")
    assert outcome.err.count("\n") == 1
    seeds = sorted(path.parent.name for path in here.rglob("recipe.yaml"))
    # After at least one epoch there is something to look at, otherwise nothing is left.
    assert seeds == (["seed0", "seed1"] if list(here.rglob("metrics.jsonl")) else [])
