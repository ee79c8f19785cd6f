"""Runs with damaged or changed files: an error of one line, and the files stay as they are."""

import shutil
from pathlib import Path

import pytest
import yaml

from smskd.errors import UserError
from smskd.recipe import read
from smskd.strategies.resolve import resolve
from tests.support.program import TINY, everything_in, fine, mistake


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory, taught: tuple[str, ...]) -> Path:
    """A run that stopped after the third of nine epochs, in its first stage."""
    from smskd.runs.folder import Checkpoint, RunFolder

    folder = tmp_path_factory.mktemp("half") / "run"
    save = RunFolder.save_checkpoint

    def stop(self: RunFolder, checkpoint: Checkpoint, keep: int) -> None:
        save(self, checkpoint, keep)
        if checkpoint.values["counters"]["epoch"] == 3:
            raise UserError("No space left on device")

    words = ("train", "digits/fitnet-kd", *taught, "training.epochs=9", "schedule.decay_at=[4]", "--out", folder, "-q")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", stop)
        assert "No space left on device" in mistake(*words)
    return folder


@pytest.fixture
def run(here: Path, half_done: Path) -> Path:
    shutil.copytree(half_done, here / "r")
    return Path("r")


def test_it_can_be_resumed(run: Path) -> None:
    fine("resume", run, "-q")
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 9


@pytest.mark.parametrize("content", [b"", b"noise\n", b"\xff\xfe\x00", b'{"epoch": 1}\n{"epo', b"[]\n[]\n[]\n"])
def test_damaged_metrics(run: Path, content: bytes) -> None:
    (run / "metrics.jsonl").write_bytes(content)
    before = everything_in(run)
    message = mistake("resume", run, "-q")
    assert message == (
        "r/metrics.jsonl is damaged: 0 of 3 epochs are in it; remove it and checkpoint.safetensors to start the run "
        "again"
    )
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


CHANGES = [
    ("name: resnet8_w4", "name: resnet8_w2", "student.name"),
    ("hint_layer: 2", "hint_layer: 1", "stages.0.methods.0.hint_layer"),
    ("learning_rate: 0.05", "learning_rate: 0.5", "optimizer.learning_rate"),
]


@pytest.mark.parametrize(("old", "new", "key"), CHANGES)
@pytest.mark.parametrize("force", [False, True])
def test_a_recipe_that_was_changed_under_a_checkpoint(run: Path, old: str, new: str, key: str, force: bool) -> None:
    recipe = run / "recipe.yaml"
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new, 1))
    before = everything_in(run)
    message = mistake("resume", run, "-q", *(["--force"] if force else []))
    assert message.startswith("r was begun with other ")
    assert key in message
    assert everything_in(run) == before


def test_harmless_changes_need_force(run: Path) -> None:
    recipe = run / "recipe.yaml"
    text = recipe.read_text().replace("checkpoint_every: 1", "checkpoint_every: 2")
    text = text.replace("epochs: 9", "epochs: 10").replace("ends_after: 9", "ends_after: 10")
    recipe.write_text(text)
    before = everything_in(run)
    message = mistake("resume", run, "-q")
    for key in ("runtime.checkpoint_every (1, now 2)", "training.epochs (9, now 10)", "--force"):
        assert key in message
    assert everything_in(run) == before
    fine("resume", run, "--force", "-q")
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 10


def test_weights_are_named_once(here: Path, taught: tuple[str, ...]) -> None:
    message = mistake("train", "digits/kd", *taught, "teacher.weights=nosuch.pth")
    assert message == f"teacher.weights: there is no file {here / 'nosuch.pth'}"


@pytest.mark.parametrize("recipe", ["digits/fitnet-kd", "digits/kd"])
def test_an_error_of_the_common_anchor_has_its_own_path(recipe: str) -> None:
    assert mistake("recipe", recipe, "anchor.weigth=1").startswith("anchor.weigth: unknown hyper-parameter")
    last = yaml.safe_load(fine("recipe", recipe, "anchor.weight=0.25"))["stages"][-1]
    assert recipe == "digits/kd" or last["anchor"]["weight"] == 0.25
    assert recipe == "digits/kd" or set(last["anchor"]) > {"name", "weight", "temperature"}
    assert all(stage.anchor is None for stage in resolve(read(recipe, ["anchor=null"])).stages)


def test_the_meta_device_is_not_one_to_train_on(here: Path) -> None:
    message = mistake("train", "digits/teacher", *TINY, "runtime.device=meta")
    assert message == "runtime.device: 'meta' is not available; choose from auto, cpu, cuda, mps"
    assert everything_in(here) == {}


def test_the_command_to_resume_can_be_pasted(here: Path) -> None:
    fine("train", "digits/teacher", *TINY, "--out", "my run", "-q")
    message = mistake("train", "digits/teacher", *TINY, "--out", "my run")
    assert message.endswith("smskd resume 'my run'")
