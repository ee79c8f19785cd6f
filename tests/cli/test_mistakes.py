"""A user's mistake: exit code 2, one line with the place and the remedy, and no files."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from smskd.runs import atomic_files
from tests.support.program import TINY, everything_in, mistake

MISTAKES = {
    "epohcs=3": "digits/kd: epohcs: unknown key; did you mean 'training.epochs'?",
    "training.epochs=0": "digits/kd: training.epochs: must be greater than 0, not 0",
    "epochs=2": "digits/kd: epochs: unknown key; it is now training.epochs",
    "epochs": "'epochs' is not of the form key.path=value",
    "methods=kdd": "methods.0: unknown method 'kdd'; did you mean 'kd'?",
    "methods=kd,xyz": "methods.1: unknown method 'xyz'; choose from ",
    "methods.0.temprature=3": "methods.0.temprature: unknown hyper-parameter of kd; did you mean 'temperature'?",
    "methods.0.temperature=-3": "methods.0: temperature must be positive, not -3.0",
    "student.name=resnet21": "student: unknown model 'resnet21'; did you mean 'resnet",
    "student.options.depth=3": "student: model 'resnet8_w4' has no option 'depth'",
    "student=no_such_module:net": "student: model 'no_such_module:net': cannot import 'no_such_module'",
    "teacher.name=resnet21": "teacher: unknown model 'resnet21'; did you mean 'resnet",
    "teacher.weights=nosuch.pth": "teacher.weights: ",
    "teacher.weights=null": "teacher.weights: a teacher needs trained weights: a .safetensors or .pth file, or the ",
    "teacher=null": "teacher: kd (stage 1) needs a teacher; give its name and weights",
    "student.weights=nosuch.safetensors": "student.weights: ",
    "data.source.name=digit": "data.source: unknown data source 'digit'; did you mean 'digits'?",
    "data.source={name: cifar10, root: nosuch}": "data: cifar10: no complete files in ",
    "data=parquet": "data.source.root: parquet needs this option",
    "data.source.channels=3": "data.source.channels: ",
    "runtime.device=gpu": "runtime.device: 'gpu' is not available; choose from auto, cpu, cuda, mps",
    "runtime.device=cuda:99": "runtime.device: 'cuda:99' is not available; choose from auto, cpu, cuda, mps",
    "stages=[{epochs: 3}, {ends_after: 2}]": "stages.1.ends_after: stage 2 ends after epoch 2, before it begins ",
    "stages=[{ends_after: 3, epochs: 3}]": "stages.0: give either ends_after or epochs, not both",
    "stages=[{ends_after: 20}, {}]": "stages.1: stage 2 ends after epoch 2, before it begins (epoch 21); training.",
    "stages=[{methods: {name: fitnet, hint_layer: 9}}]": "fitnet: hint_layer 9 is beyond the student's 3 stages",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_mistakes_in_a_recipe(here: Path, taught: tuple[str, ...], override: str) -> None:
    message = mistake("train", "digits/kd", *taught, override)
    assert message.startswith(MISTAKES[override])
    assert everything_in(here) == {}


@pytest.mark.parametrize("seeds", ["a", "1,1", "1,01", "-1", "", ",", "1;2", "²", "2147483648", "1,2,"])
def test_wrong_seeds(here: Path, seeds: str) -> None:
    message = mistake("train", "digits/teacher", *TINY, "--seeds", seeds)
    assert message == f"--seeds: '{seeds}' is not a list of distinct integers such as 0,1,2"
    assert everything_in(here) == {}


def test_a_mistake_leaves_none_of_the_folders_of_several_seeds(here: Path, taught: tuple[str, ...]) -> None:
    mistake("train", "digits/kd", *taught, "student.name=nosuch", "--seeds", "0,1", "--out", "deep/er")
    assert everything_in(here) == {}


def test_anchors(here: Path, taught: tuple[str, ...]) -> None:
    for override, message in (
        ("anchor=ewcc", "anchor: unknown anchor 'ewcc'; did you mean 'ewc'?"),
        ("anchor.weigth=1", "anchor.weigth: unknown hyper-parameter of reference_kl; did you mean 'weight'?"),
        ("anchor.weight=-1", "anchor: weight must be 0 or more, not -1.0"),
        ("anchor.tcp=foo", "anchor.tcp: must be 'probability', 'complement', 'none' or 'auto', not 'foo'"),
    ):
        assert message in mistake("train", "digits/fitnet-kd", *taught, override)
    assert everything_in(here) == {}


def test_weights_that_do_not_fit(here: Path, taught: tuple[str, ...], teacher: Path) -> None:
    message = mistake("train", "digits/kd", *taught, "teacher.name=resnet14")
    assert message.startswith("teacher.weights: ")
    assert message.endswith(f"{teacher}/student.safetensors has the weights of 'resnet8', not those of 'resnet14'")
    message = mistake("train", "digits/kd", *taught, f"student.weights={teacher}")
    assert message.startswith("student.weights: ")
    assert "has the weights of 'resnet8', not those of 'resnet8_w4'" in message
    assert everything_in(here) == {}


def test_a_teacher_with_another_number_of_classes(here: Path, taught: tuple[str, ...], teacher: Path) -> None:
    weights = load_file(teacher / "student.safetensors")
    weights |= {name: torch.cat([weights[name]] * 2) for name in ("fc.weight", "fc.bias")}
    save_file(weights, here / "twenty.safetensors")
    message = mistake("train", "digits/kd", *taught, "teacher.weights=twenty.safetensors", "--out", "r")
    assert message.startswith("teacher.weights: ")
    assert "has 20 output classes, the data 10" in message
    assert "fc.weight is [20, 64] in the file and [10, 64] in the model" in message
    assert list(everything_in(here)) == ["twenty.safetensors"]


def test_damaged_weights(here: Path, taught: tuple[str, ...], teacher: Path) -> None:
    (here / "cut.safetensors").write_bytes((teacher / "student.safetensors").read_bytes()[:1000])
    (here / "noise.pth").write_bytes(b"noise")
    for name in ("cut.safetensors", "noise.pth"):
        message = mistake("train", "digits/kd", *taught, f"teacher.weights={name}", "--out", "r")
        assert message.startswith("teacher.weights: ")
        assert f"{name} cannot be read: " in message
        assert f"{name} cannot be read: " in mistake("eval", name, "--recipe", "digits/teacher")
    assert set(everything_in(here)) == {"cut.safetensors", "noise.pth"}


def test_output_folders_that_cannot_be(here: Path) -> None:
    (here / "file").touch()
    assert mistake("train", "digits/teacher", *TINY, "--out", "file") == "file is a file; a run needs a folder"
    message = mistake("train", "digits/teacher", *TINY, "--out", "file/run")
    assert message == "file/run cannot be written: Not a directory"
    assert mistake("train", "digits/teacher", *TINY, "--out", "/proc/run").startswith("/proc/run cannot be written: ")
    assert list(everything_in(here)) == ["file"]


def test_a_folder_in_which_nothing_can_be_written_any_more(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        if "checkpoint" in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files, "_sync", full)
    words = ("train", "digits/teacher", *TINY, "--out", "r", "-q")
    assert mistake(*words) == "r/checkpoint.safetensors cannot be written: No space left on device"
    assert {"recipe.yaml", "metrics.jsonl"} <= everything_in(here / "r").keys()


@pytest.mark.parametrize("command", ["resume", "compare", "report", "eval"])
def test_runs_that_are_not_there(here: Path, command: str) -> None:
    (here / "empty").mkdir()
    (here / "file").touch()
    assert mistake(command, "nosuch").startswith("nosuch: no such ")
    assert "empty" in mistake(command, "empty")
    assert "file" in mistake(command, "file")


def test_pages_that_cannot_be_written(here: Path, runs: Path) -> None:
    (here / "file").touch()
    assert mistake("report", runs, "--out", here) == f"--out: {here} is a folder; give the name of an HTML file"
    assert "file/page.html cannot be written: " in mistake("report", runs, "--out", "file/page.html")


def test_unknown_methods_and_models() -> None:
    assert mistake("methods", "kdd") == "unknown method 'kdd'; did you mean 'kd'?"
    assert mistake("models", "resnet21").startswith("unknown model 'resnet21'; did you mean 'resnet")
    assert "cannot import" in mistake("models", "no_such_module:net")


def test_two_ways_to_print_at_once(runs: Path) -> None:
    assert mistake("compare", runs, "--csv", "--json") == "give one of --csv, --markdown, --latex, --json"


def test_a_recipe_that_is_not_there(here: Path) -> None:
    for command in ("train", "recipe"):
        assert mistake(command, "digits/kdd") == "digits/kdd: no such recipe file; did you mean 'digits/kd.yaml'?"
    assert everything_in(here) == {}
