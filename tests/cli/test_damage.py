"""Runs whose files were damaged or changed: told in one line, and never made worse."""

import shutil
from pathlib import Path

import pytest
import yaml

from smskd.recipe import read
from smskd.strategies.resolve import resolved
from tests.support.program import TINY, everything_in, fine, mistake


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory, taught: tuple[str, ...]) -> Path:
    """A run that stopped after the third of nine epochs, in its first stage."""
    from smskd.runs.folder import Checkpoint, RunFolder

    folder = tmp_path_factory.mktemp("half") / "run"
    save = RunFolder.save_checkpoint

    def stop(self: RunFolder, checkpoint: Checkpoint) -> None:
        save(self, checkpoint)
        if checkpoint.values["epoch"] == 3:
            raise OSError(28, "No space left on device")

    words = ("train", "digits/fitnet-kd", *taught, "epochs=9", "schedule.decay_epochs=[4]", "--out", folder, "-q")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", stop)
        assert "No space left on device" in mistake(*words)
    return folder


@pytest.fixture
def run(here: Path, half_done: Path) -> Path:
    shutil.copytree(half_done, here / "r")
    return Path("r")


def test_it_can_go_on(run: Path) -> None:
    fine("resume", run, "-q")
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 9


@pytest.mark.parametrize("content", [b"", b"noise\n", b"\xff\xfe\x00", b'{"epoch": 1}\n{"epo', b"[]\n[]\n[]\n"])
def test_damaged_metrics(run: Path, content: bytes) -> None:
    (run / "metrics.jsonl").write_bytes(content)
    before = everything_in(run)
    message = mistake("resume", run)
    assert message == "r/metrics.jsonl is damaged; remove it and r/checkpoint.safetensors to start the run again"
    assert everything_in(run) == before
    for name in ("metrics.jsonl", "checkpoint.safetensors"):
        (run / name).unlink()
    fine("resume", run, "-q")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"text", b"- a\n", b"a: [\n"])
def test_a_damaged_recipe(run: Path, content: bytes) -> None:
    (run / "recipe.yaml").write_bytes(content)
    before = everything_in(run)
    assert mistake("resume", run).startswith("r/recipe.yaml")
    assert everything_in(run) == before


HINTS = "    hint_layer: 2\n    regressor: true\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [("model: resnet8_w4", "model: resnet8_w2"), ("name: fitnet\n    weight: 100.0\n" + HINTS, "name: crd\n")],
)
def test_a_recipe_that_was_changed_under_a_checkpoint(run: Path, old: str, new: str) -> None:
    recipe = run / "recipe.yaml"
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    before = everything_in(run)
    message = mistake("resume", run)
    assert message.startswith("r/checkpoint.safetensors is of another recipe than recipe.yaml beside it; ")
    assert everything_in(run) == before
    recipe.write_text(text)
    fine("resume", run, "-q")


def test_weights_are_named_once(here: Path, taught: tuple[str, ...]) -> None:
    message = mistake("train", "digits/kd", *taught, "teacher.weights=nosuch.pth")
    assert message == f"teacher.weights: there is no file {here / 'nosuch.pth'}"


@pytest.mark.parametrize("recipe", ["digits/fitnet-kd", "digits/kd"])
def test_the_anchor_of_the_whole_recipe_is_filled_in_and_blamed_by_its_own_name(recipe: str) -> None:
    assert mistake("recipe", recipe, "anchor.weigth=1").startswith("anchor.weigth: unknown hyper-parameter")
    shown = yaml.safe_load(fine("recipe", recipe, "anchor.weight=0.25"))
    assert shown["anchor"]["weight"] == 0.25
    assert set(shown["anchor"]) > {"name", "weight", "temperature"}
    assert resolved(read(recipe, ["anchor=null"])).anchor is None


def test_the_meta_device_is_not_one_to_train_on(here: Path) -> None:
    message = mistake("train", "digits/teacher", *TINY, "device=meta")
    assert message == "device: 'meta' is not here; choose from auto, cpu, cuda, mps"
    assert everything_in(here) == {}


def test_the_command_to_go_on_can_be_pasted(here: Path) -> None:
    fine("train", "digits/teacher", *TINY, "--out", "my run", "-q")
    message = mistake("train", "digits/teacher", *TINY, "--out", "my run")
    assert message.endswith("smskd resume 'my run'")
