"""Run folders and weights of others: `smskd eval` and `smskd resume` run no code that they name."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import smskd
from smskd.data import Augmentation, Images, load
from smskd.models import read_metadata, save_weights
from smskd.models.weights import read_weights
from smskd.recipe import read
from smskd.runs.tensor_files import write_tensors
from tests.support import program, tiny
from tests.support.facts_cases import Evil
from tests.support.program import TINY, fine, mistake


@pytest.fixture
def evil(here: Path, monkeypatch: pytest.MonkeyPatch) -> Evil:
    monkeypatch.syspath_prepend(here)
    return Evil(here)


@pytest.fixture
def folder(here: Path, runs: Path) -> Path:
    """A copy of a run, to be changed."""
    shutil.copytree(runs / "seed0", here / "r")
    return here / "r"


def changed(folder: Path, old: str, new: str) -> None:
    """Changes the recipe in a run folder."""
    text = (folder / "recipe.yaml").read_text()
    assert old in text
    (folder / "recipe.yaml").write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("name: digits", "name: evil_module:make", "data source"),
        ("name: resnet8_w4", "name: evil_module:make", "model"),
        ("name: fitnet", "name: evil_module:make", "method"),
    ],
)
def test_eval_reads_the_recipe_of_a_folder_and_imports_nothing(
    folder: Path, evil: Evil, old: str, new: str, kind: str
) -> None:
    changed(folder, old, new)
    message = mistake("eval", "r")
    assert f"names the {kind} 'evil_module:make', which does not come with smskd" in message
    assert message.endswith("if you trust the folder, add --trust")
    assert not evil.ran


def test_eval_reads_the_metadata_of_weights_and_imports_nothing(folder: Path, evil: Evil) -> None:
    file = folder / "student.safetensors"
    facts = read_metadata(file) | {"model": "evil_module:make", "options": json.dumps({"cmd": "id"})}
    save_weights(tiny.student(), file, facts)
    assert "the weights are of 'evil_module:make', which is not of the zoo" in mistake("eval", "r")
    assert "the weights are of 'evil_module:make'" in mistake("eval", file, "--recipe", "digits/teacher")
    assert not evil.ran
    assert mistake("eval", "r", "--trust").endswith("'evil_module:make' is not callable")
    assert evil.ran


def test_resume_imports_nothing(folder: Path, evil: Evil) -> None:
    (folder / "summary.json").unlink()
    changed(folder, "name: fitnet", "name: evil_module:make")
    assert "names the method 'evil_module:make'" in mistake("resume", "r")
    assert not evil.ran
    program.smskd("resume", "r", "--trust")
    assert evil.ran


def test_a_model_of_ones_own_wants_ones_word(here: Path) -> None:
    own = ["student.name=tests.support.factories:narrow", "student.options.slope=0.1"]
    fine("train", "digits/plain", *TINY, *own, "--out", "own", "-q")
    top1 = json.loads((here / "own" / "summary.json").read_text())["student"]["top1"]
    assert "names the model 'tests.support.factories:narrow'" in mistake("eval", "own")
    changes = [word for change in own for word in ("--set", change)]
    ways = [
        ["--trust"],
        ["--recipe", "digits/plain", *(word for change in TINY for word in ("--set", change)), *changes],
    ]
    for words in [*ways, changes]:
        (found,) = json.loads(fine("eval", "own", *words, "--json"))
        assert (found["top1"], found["model"]) == (top1, "tests.support.factories:narrow")


def test_a_simkd_student_as_a_teacher_has_the_accuracy_of_its_summary(here: Path, taught: tuple[str, ...]) -> None:
    fine("train", "digits/kd", *taught, "methods=simkd", "--out", "s", "-q")
    student = json.loads((here / "s" / "summary.json").read_text())["student"]
    (found,) = json.loads(fine("eval", "s", "--json"))
    assert found["top1"] == student["top1"]
    own = [f"teacher.name={student['model']}", "teacher.weights=s"]
    fine("train", "digits/kd", *TINY, *own, "--out", "t", "-q")
    assert json.loads((here / "t" / "summary.json").read_text())["teacher"]["top1_last"] == student["top1"]


def test_weights_are_compared_with_the_data(here: Path, runs: Path) -> None:
    """The names of the digits are only numbers, so that other names are not compared with them."""
    file = here / "w.safetensors"
    weights = runs / "seed0" / "student.safetensors"
    facts = read_metadata(weights)
    words = ["--recipe", "digits/teacher", *(word for change in TINY for word in ("--set", change))]
    for changes, message in (
        ({"image_shape": "[1, 16, 16]"}, "from images of 16x16 pixels, these have 8x8"),
        ({"class_names": json.dumps(list("abcdefghij"))}, None),
        ({"model": "resnet8_w2"}, "does not fit the model"),
        ({"mean": "x"}, "mean is not JSON"),
        ({"classes": "2", "class_names": "null"}, "does not fit the model"),
    ):
        write_tensors(file, read_weights(weights).tensors, facts | changes)
        if message is None:
            fine("eval", file, *words)
        else:
            assert message in mistake("eval", file, *words)


def test_images_are_normalised_as_the_weights_want(here: Path, runs: Path) -> None:
    weights = read_weights(runs / "seed0" / "student.safetensors")
    own = Augmentation(mean=(0.7,), std=(0.2,)).plain()
    facts = {"mean": json.dumps(own.mean), "std": json.dumps(own.std)}
    write_tensors(here / "w.safetensors", weights.tensors, {**weights.metadata, **facts})
    test = load(read("digits/teacher", TINY).data).test
    assert isinstance(test, Images)
    with torch.no_grad():
        right = smskd.load(here / "w.safetensors")(own.apply(test.pixels)).argmax(1) == test.labels
    words = ["--recipe", "digits/teacher", *(word for change in TINY for word in ("--set", change))]
    (found,) = json.loads(fine("eval", "w.safetensors", *words, "--json"))
    assert found["top1"] == 100 * float(right.double().mean())
