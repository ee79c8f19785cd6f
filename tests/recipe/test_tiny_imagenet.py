"""The recipes of Tiny ImageNet, on generated images in the layout of its archive."""

from pathlib import Path

import pytest

from smskd import models
from smskd.build import build
from smskd.recipe import read, shipped
from smskd.strategies.resolve import resolve
from smskd.training.globals import preserved_globals
from smskd.training.rehearsal import rehearse
from tests.support.tiny_imagenet_files import IDS, write_tiny_imagenet

RECIPES = sorted(Path(name).stem for name in shipped.names() if name.startswith("tiny_imagenet/") and "-" in name)
PAIRS = [name for name in RECIPES if name not in ("spot-adaptive",)]
SMALL = ("training.batch_size=2", "data.subset.train=2", "data.subset.test=1", "runtime.compile=off")
MDISTILLER = {"ResNet18-MobileNetV2", "ResNet18-ShuffleV2"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_imagenet(tmp_path_factory.mktemp("tiny") / "tiny-imagenet-200", train=2, side=64)


@pytest.mark.parametrize("name", PAIRS)
def test_each_pair_is_built_and_takes_a_step(root: Path, tmp_path: Path, name: str) -> None:
    teacher = read(f"tiny_imagenet/{name}").teacher
    assert teacher is not None
    models.save_weights(models.create(teacher.name, classes=len(IDS)), tmp_path / "teacher.safetensors")
    given = [f"data.source.root={root}", f"teacher.weights={tmp_path / 'teacher.safetensors'}"]
    with preserved_globals():
        made = build(resolve(read(f"tiny_imagenet/{name}", [*given, *SMALL])))
        rehearse(made)  # a step of each stage, of a copy
    assert made.input_form == (3, 64, 64)
    assert [stage.names for stage in made.recipe.stages] == [("fitnet",), ("kd",)]


@pytest.mark.parametrize("name", PAIRS)
def test_each_teacher_has_the_protocol_of_its_pairs(name: str) -> None:
    pair = read(f"tiny_imagenet/{name}")
    assert pair.teacher is not None
    teacher = read(f"tiny_imagenet/teachers/{pair.teacher.name}")
    assert teacher.student.name == pair.teacher.name
    assert (teacher.data, teacher.training, teacher.optimizer, teacher.schedule) == (
        pair.data,
        pair.training,
        pair.optimizer,
        pair.schedule,
    )
    epochs, batch, rate = (200, 256, 0.2) if name in MDISTILLER else (240, 64, 0.05)
    assert (pair.training.epochs, pair.training.batch_size, pair.optimizer.learning_rate) == (epochs, batch, rate)
    assert pair.data.augmentation.rotation == (20 if name in MDISTILLER else None)
