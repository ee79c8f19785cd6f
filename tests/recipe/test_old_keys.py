"""Keys of the first edition of the recipe: one line with the new key."""

from typing import Any

import pytest

from smskd.errors import UserError
from smskd.recipe import parse, read

OLD_KEYS = {
    "epochs=2": "epochs: unknown key; it is now training.epochs",
    "batch_size=2": "batch_size: unknown key; it is now training.batch_size",
    "test_batch_size=2": "test_batch_size: unknown key; it is now training.test_batch_size",
    "seed=1": "seed: unknown key; it is now runtime.seed",
    "device=cpu": "device: unknown key; it is now runtime.device",
    "precision=bf16": "precision: unknown key; it is now runtime.precision",
    "compile=off": "compile: unknown key; it is now runtime.compile",
    "tf32=false": "tf32: unknown key; it is now runtime.tf32",
    "checkpoint_every=2": "checkpoint_every: unknown key; it is now runtime.checkpoint_every",
    "data={name: cifar10, root: data}": "data.name: unknown key; it is now data.source.name",
    "data={root: data, name: cifar10}": "data.root: unknown key; it is now data.source.root",
    "data.download=true": "data.download: unknown key; it is now data.source.download",
    "data.image_size=[3, 3]": "data.image_size: unknown key; it is now data.source.image_size",
    "data.train_limit=5": "data.train_limit: unknown key; it is now data.subset.train",
    "data.test_limit=5": "data.test_limit: unknown key; it is now data.subset.test",
    "data.limit_seed=5": "data.limit_seed: unknown key; it is now data.subset.seed",
    "data.padding=4": "data.padding: unknown key; it is now data.augmentation.padding",
    "data.flip=true": "data.flip: unknown key; it is now data.augmentation.flip",
    "student={model: resnet8}": "student.model: unknown key; it is now student.name",
    "teacher={model: resnet8}": "teacher.model: unknown key; it is now teacher.name",
    "teacher.cache=disk": "teacher.cache: must be a mapping, not 'disk'; that is now teacher.cache.mode",
    "teacher.cache_folder=x": "teacher.cache_folder: unknown key; it is now teacher.cache.folder",
    "teacher.cache_limit=1GB": "teacher.cache_limit: unknown key; it is now teacher.cache.limit",
    "schedule.decay_epochs=[3]": "schedule.decay_epochs: unknown key; it is now schedule.decay_at",
    "anchor.source=teacher": "anchor.source: unknown key; it is now anchor.tcp_from",
    "anchor.form=complement": "anchor.form: unknown key; it is now anchor.tcp",
    "anchor.direction=reverse": "anchor.direction: unknown key; it is now anchor.kl",
    "anchor.tcp=uniform": "anchor.tcp: 'uniform' is now 'none'",
    "anchor=true_class": "anchor.name: 'true_class' is now 'reference_kl'",
    "anchor={name: true_class, form: auto}": "anchor.name: 'true_class' is now 'reference_kl'",
    "stages=[{until: 5}, {}]": "stages.0.until: unknown key; it is now stages.0.ends_after",
    "stages=[{}, {class_weight: 1}]": "stages.1.class_weight: unknown key; it is now stages.1.ce_weight",
    "stages=[{average_decay: 0.9}]": "stages.0.average_decay: unknown key; it is now stages.0.ema_decay",
    "stages=[{carry: average}]": "stages.0.carry: 'average' is now 'ema'",
    "stages=[{reference: average}]": "stages.0.reference: 'average' is now 'ema'",
    "stages=[{}, {optimizer: reset}]": (
        "stages.1.optimizer: must be a mapping, not 'reset'; that is now stages.1.optimizer_state"
    ),
    "stages=[{schedule: {decay_epochs: [3]}}]": (
        "stages.0.schedule.decay_epochs: unknown key; it is now stages.0.schedule.decay_at"
    ),
    "stages=[{}, {anchor: {form: auto}}]": "stages.1.anchor.form: unknown key; it is now stages.1.anchor.tcp",
    "stages=[{}, {anchor: true_class}]": "stages.1.anchor.name: 'true_class' is now 'reference_kl'",
}


@pytest.mark.parametrize(("override", "message"), OLD_KEYS.items(), ids=OLD_KEYS.keys())
def test_an_old_key_gives_the_new_one(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read("digits/kd", [override])
    assert str(error.value) == f"digits/kd: {message}"


@pytest.mark.parametrize(
    "keys",
    [
        {"anchor": {"name": "my.package:Anchor", "source": "x", "form": "y", "direction": "z"}},
        {"stages": [{}, {"anchor": {"name": "my.package:Anchor", "form": "y"}}]},
        {"methods": [{"name": "my.package:Method", "source": 1, "until": 3, "carry": "average"}]},
        {"student": {"name": "resnet8", "options": {"model": 1, "seed": 3}}},
        {"data": {"source": {"name": "my.package:data", "train_limit": 5, "flip": True}}},
        {"name": "true_class"},
    ],
)
def test_options_with_such_names_are_free(keys: dict[str, Any]) -> None:
    parse({"data": "digits", "student": "resnet8", **keys})
