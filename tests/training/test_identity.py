"""A run is resumed with what it was begun with; any difference is refused in one line that names the keys."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from smskd import session
from smskd.anchors.ewc import EWC
from smskd.anchors.reference_kl import ReferenceKL
from smskd.build import Provided, build
from smskd.config.base import ComponentConfig
from smskd.config.data import AugmentationConfig, DataConfig, SubsetConfig
from smskd.config.models import ModelConfig
from smskd.config.optimization import ScheduleConfig
from smskd.config.stage import StageConfig
from smskd.data import Dataset, Images
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.recipe import Recipe, TrainingConfig
from smskd.runs.folder import RECIPE, RunFolder
from smskd.strategies.resolve import resolve
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from smskd.training.identity import Identity, check_identity
from smskd.training.run import run
from tests.support import tiny

STAGES: list[tuple[StageConfig, tiny.Methods]] = [(StageConfig(ends_after=2), ["fitnet"]), (StageConfig(), ["kd"])]
BEGUN = tiny.recipe(STAGES, epochs=4, anchor=ReferenceKL())


@dataclass(frozen=True)
class Change:
    """Another recipe, or other objects, than the run was begun with."""

    recipe: Recipe = BEGUN
    learner: Callable[[], FeatureModel] = tiny.student
    source: Callable[[], FeatureModel] = tiny.teacher
    dataset: Callable[[], Dataset] = tiny.digits

    def built(self) -> RunConfig:
        with preserved_globals():
            return build(resolve(self.recipe), Provided(self.learner(), self.source(), self.dataset()))


def stage(place: int, **settings: Any) -> Change:
    stages = [(replace(config, **settings) if at == place else config, own) for at, (config, own) in enumerate(STAGES)]
    return Change(tiny.recipe(stages, epochs=4, anchor=ReferenceKL()))


def runtime(**settings: Any) -> Change:
    return Change(replace(BEGUN, runtime=replace(BEGUN.runtime, **settings)))


def one_other_pixel() -> Dataset:
    digits = tiny.digits()
    assert isinstance(digits.train, Images)
    pixels = digits.train.pixels.clone()
    pixels[3, 0, 4, 4] += 1
    return replace(digits, train=replace(digits.train, pixels=pixels))


def other_labels() -> Dataset:
    digits = tiny.digits()
    assert isinstance(digits.test, Images)
    return replace(digits, test=replace(digits.test, labels=digits.test.labels.flip(0)))


REFUSED = {
    "anchor": (Change(tiny.recipe(STAGES, epochs=4, anchor=EWC())), r"stages\.1\.anchor\.name"),
    "an option of the anchor": (
        Change(tiny.recipe(STAGES, epochs=4, anchor=ReferenceKL(weight=0.5))),
        r"stages\.1\.anchor\.weight \(0\.4, now 0\.5\)",
    ),
    "teacher": (Change(source=lambda: tiny.teacher(seed=8)), r"weights, normalisation or classes of the teacher"),
    "batch size": (
        Change(tiny.recipe(STAGES, epochs=4, anchor=ReferenceKL(), batch_size=30)),
        r"training\.batch_size \(20, now 30\)",
    ),
    "batch size of a stage": (stage(1, batch_size=30), r"stages\.1\.batch_size"),
    "augmentation": (
        Change(replace(BEGUN, data=replace(BEGUN.data, augmentation=AugmentationConfig(padding=2)))),
        r"data\.augmentation\.padding \(null, now 2\), mean, standard deviation or augmentation",
    ),
    "training images": (Change(dataset=one_other_pixel), r"training images"),
    "test images": (Change(dataset=other_labels), r"test images"),
    "ce_weight": (stage(0, ce_weight=0.5), r"stages\.0\.ce_weight \(1\.0, now 0\.5\)"),
    "carry": (stage(0, carry="ema"), r'stages\.0\.carry \("last", now "ema"\)'),
    "reference": (stage(0, reference="ema"), r'stages\.0\.reference \("last", now "ema"\)'),
    "schedule": (
        Change(tiny.recipe(STAGES, epochs=4, anchor=ReferenceKL(), schedule=ScheduleConfig(decay_at=(2, 3)))),
        r"schedule\.decay_at \(\[2, 4\], now \[2, 3\]\)",
    ),
    "schedule of a stage": (stage(1, schedule=ScheduleConfig(name="constant")), r"stages\.1\.schedule"),
    "method": (
        Change(tiny.recipe([STAGES[0], (STAGES[1][0], ["sp"])], epochs=4, anchor=ReferenceKL())),
        r"stages\.1\.methods\.0\.name",
    ),
    "seed": (runtime(seed=1), r"runtime\.seed \(0, now 1\)"),
    "precision": (runtime(precision="bf16"), r"runtime\.precision"),
}

HARMLESS = {
    "initial student": (Change(learner=lambda: tiny.student(seed=8)), r"fingerprints\.student"),
    "checkpoint interval": (runtime(checkpoint_every=2), r"runtime\.checkpoint_every \(1, now 2\)"),
    "device": (runtime(device="cpu:0"), r'runtime\.device \("cpu", now "cpu:0"\)'),
    "epochs": (Change(tiny.recipe(STAGES, epochs=6, anchor=ReferenceKL())), r"training\.epochs \(4, now 6\)"),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left in its second stage."""
    folder = tmp_path_factory.mktemp("begun")
    left_after(3, Change().built(), folder)
    return folder


def left_after(epochs: int, made: RunConfig, folder: Path) -> None:
    reports = tiny.epochs_of(made, folder)
    for _ in range(epochs):
        next(reports)
    reports.close()


def refusal(change: Change, folder: Path, *, force: bool = False) -> str:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as raised:
        next(run(change.built(), RunFolder(folder), force=force))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
@pytest.mark.parametrize("name", REFUSED)
def test_another_result_is_refused(name: str, force: bool, begun: Path) -> None:
    """Even with ``force``."""
    change, keys = REFUSED[name]
    message = refusal(change, begun, force=force)
    assert re.search(rf"^{begun} was begun with other .*{keys}", message)
    assert message.endswith("undo the change, or begin another run in another folder")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_needs_force(name: str, begun: Path, tmp_path: Path) -> None:
    change, keys = HARMLESS[name]
    message = refusal(change, begun)
    assert re.search(rf"^{begun} was begun with other .*{keys}", message)
    assert message.endswith("(force=True)")
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    rest = list(run(change.built(), RunFolder(folder), force=True))
    assert len(rest) == change.recipe.training.epochs - 3
    assert tiny.summary(folder)["digest"] == change.built().identity.digest


def test_fewer_epochs_are_refused(begun: Path) -> None:
    shorter = Change(tiny.recipe(STAGES, epochs=3, anchor=ReferenceKL()))
    assert "training.epochs (4, now 3)" in refusal(shorter, begun, force=True)


@pytest.mark.parametrize("place", ["run", "last stage"])
def test_a_cosine_is_not_lengthened(place: str) -> None:
    """It would have had other learning rates from the start."""
    cosine = ScheduleConfig(name="cosine")

    def identity(epochs: int) -> Identity:
        stages = [(StageConfig(schedule=cosine if place == "last stage" else None), [])]
        schedule = cosine if place == "run" else tiny.SCHEDULE
        resolved = resolve(tiny.recipe(stages, epochs=epochs, schedule=schedule))
        return Identity.of(resolved.as_mapping(), {})

    with pytest.raises(UserError, match=r"training\.epochs \(4, now 6\)"):
        check_identity(identity(4), identity(6), Path("run"), force=True)


def test_a_finished_run_is_not_taken_for_another(tmp_path: Path) -> None:
    quick = tiny.recipe([(StageConfig(), [])], epochs=1)
    tiny.trained(Change(quick).built(), tmp_path)
    RunFolder(tmp_path).conclude()
    other = Change(replace(quick, runtime=replace(quick.runtime, seed=4)))
    assert "runtime.seed (0, now 4)" in refusal(other, tmp_path)
    elsewhere = Change(replace(quick, runtime=replace(quick.runtime, device="cpu:0")))
    assert refusal(elsewhere, tmp_path).endswith("(force=True)")
    assert list(run(elsewhere.built(), RunFolder(tmp_path), force=True)) == []
    longer = Change(tiny.recipe([(StageConfig(), [])], epochs=2))
    assert "is finished after 1 epochs, and a finished run cannot be lengthened" in refusal(
        longer, tmp_path, force=True
    )


def test_the_digest_is_of_all_facts() -> None:
    one = Identity.of({"a": {"b": (1, 2)}, "runtime": {"seed": 3}}, {"train": "x"})
    assert one.facts["a.b"] == [1, 2]
    assert one.digest == Identity.of({"runtime": {"seed": 3}, "a": {"b": [1, 2]}}, {"train": "x"}).digest
    others = [
        Identity.of({"a": {"b": (1, 3)}, "runtime": {"seed": 3}}, {"train": "x"}),
        Identity.of({"a": {"b": (1, 2)}, "runtime": {"seed": 3}}, {"train": "y"}),
        Identity.of({"a": {"b": (1, 2)}, "runtime": {"seed": 3}}, {"test": "x"}),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 4
    assert one.differences(others[2]) == ["fingerprints.test", "fingerprints.train"]


def test_names_of_files_are_no_facts() -> None:
    """Files may be moved; their contents have fingerprints."""
    of = Identity.of
    moved = {"name": "a", "teacher": {"weights": "b.pth"}, "data": {"source": {"root": "c"}}}
    assert of({**moved, "runtime": {"seed": 3}}, {}) == of({"runtime": {"seed": 3}}, {})


def test_an_edited_recipe_is_refused(tmp_path: Path) -> None:
    """The folder's own recipe is what a run is resumed from."""
    recipe = Recipe(
        data=DataConfig(ComponentConfig("digits", {}), subset=SubsetConfig(train=tiny.TRAIN, test=tiny.TEST)),
        student=ModelConfig("resnet8_w2"),
        training=TrainingConfig(epochs=2, batch_size=tiny.BATCH, test_batch_size=tiny.TEST),
        runtime=BEGUN.runtime,
    )
    begun = session.begin(recipe, tmp_path / "run")
    reports = begun.train(begun.build())
    next(reports)
    reports.close()
    file = tmp_path / "run" / RECIPE
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["optimizer"]["learning_rate"] = 0.01
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    (again,) = session.reopen(tmp_path / "run")
    with pytest.raises(UserError, match=r"optimizer\.learning_rate \(0\.05, now 0\.01\)"):
        next(again.train(again.build()))
