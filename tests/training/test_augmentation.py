"""Runs with every augmentation: exact resume, identity, caches, and what is refused before training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import smskd
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.augmentation import AugmentationConfig
from smskd.config.cache import CacheConfig
from smskd.config.stage import StageConfig
from smskd.data import Augmentation
from smskd.errors import UserError
from smskd.strategies.resolve import resolve
from smskd.training.identity import Identity
from tests.support import tiny
from tests.support.gating_strategy import SOURCE
from tests.support.own_data import Stop, distilled, floats, images, stopping_after

MUCH = AugmentationConfig(
    random_resized_crop={},  # type: ignore[arg-type]
    policy="rand_augment",  # type: ignore[arg-type]
    random_erasing={"value": "noise"},  # type: ignore[arg-type]
    mixup=0.4,
    cutmix=1.0,
    repeats=2,
    consistent=False,
)
ANCHOR = ReferenceKL()


def run(**changes: Any) -> smskd.Result:
    return distilled(**{"train": images("train"), "test": images("test"), "anchor": ANCHOR, **changes})


def test_a_run_is_resumed_exactly(tmp_path: Path) -> None:
    whole = run(augmentation=MUCH, out=tmp_path / "whole")
    with pytest.raises(Stop):
        run(augmentation=MUCH, out=tmp_path / "stopped", on_epoch=stopping_after(3))
    resumed = run(augmentation=MUCH, out=tmp_path / "stopped", resume=True)
    assert tiny.same(tiny.bits(resumed.student), tiny.bits(whole.student))
    assert tiny.outcome(tmp_path / "stopped") == tiny.outcome(tmp_path / "whole")


def test_images_in_memory_and_streamed_train_the_same() -> None:
    students = [run(augmentation=MUCH, loader=smskd.LoaderConfig(kind)).student for kind in ("memory", "streaming")]
    assert tiny.same(*map(tiny.bits, students))


@pytest.mark.parametrize(
    "changed", [{"mixup": 0.5}, {"policy": None}, {"repeats": 1}, {"consistent": True}, {"rotation": 3}]
)
def test_other_settings_are_another_run(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(augmentation=MUCH, out=tmp_path / "run", on_epoch=stopping_after(1))
    with pytest.raises(UserError, match=rf"begun with other data\.augmentation\.{next(iter(changed))}"):
        run(augmentation=replace(MUCH, **changed), out=tmp_path / "run", resume=True)


def test_settings_of_an_augmentation_object_are_part_of_the_identity(tmp_path: Path) -> None:
    def of(alpha: float) -> Augmentation:
        return Augmentation(mean=(0.5,), std=(0.5,), padding=1, flip=False, further=AugmentationConfig(mixup=alpha))

    with pytest.raises(Stop):
        run(augmentation=of(0.2), out=tmp_path / "run", on_epoch=stopping_after(1))
    with pytest.raises(UserError, match=r"begun with other mean, standard deviation or augmentation;"):
        run(augmentation=of(0.3), out=tmp_path / "run", resume=True)


def test_a_run_from_before_these_keys_has_the_same_identity() -> None:
    recipe = tiny.recipe([(StageConfig(), ["kd"])], epochs=2)
    mapping = resolve(recipe).as_mapping()
    old = {**mapping, "data": {**mapping["data"], "augmentation": {"padding": None, "flip": None}}}
    assert Identity.of(mapping, {}) == Identity.of(old, {})
    for key, value in (("mixup", 0.1), ("repeats", 2), ("consistent", False)):
        new = replace(recipe, data=replace(recipe.data, augmentation=AugmentationConfig(**{key: value})))
        assert Identity.of(resolve(new).as_mapping(), {}).differences(Identity.of(mapping, {})) == [
            f"data.augmentation.{key}"
        ]


class TestTheTeachersCache:
    def notes(self, mode: Any, tmp_path: Path, **settings: Any) -> tuple[list[str], dict[str, Any]]:
        cache = CacheConfig(mode, str(tmp_path / "cache"))
        result = run(augmentation=AugmentationConfig(**settings), stages=["kd"], teacher_cache=cache)
        return [note for note in result.summary["notes"] if "cache" in note], result.summary

    @pytest.mark.parametrize("mode", ["memory", "disk"])
    def test_is_done_without_where_outcomes_cannot_be_counted(self, mode: Any, tmp_path: Path) -> None:
        (note,) = self.notes(mode, tmp_path, mixup=0.3)[0]
        assert note.startswith(f"The teacher's cache '{mode}' is not used: the random transforms")
        assert not (tmp_path / "cache").exists()

    @pytest.mark.parametrize("settings", [{"repeats": 3}, {"consistent": False}])
    def test_keeps_crops_and_flips_of_repeated_images_and_of_the_teachers_own(
        self, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        common = {"stages": ["kd"], "augmentation": AugmentationConfig(padding=1, **settings)}
        reports: list[Any] = []
        cache = CacheConfig("disk", str(tmp_path))
        first, second = (run(teacher_cache=cache, on_epoch=reports.append, **common) for _ in range(2))
        assert not any("cache" in note for note in first.summary["notes"])
        assert [report.cache_hits for report in reports[-4:]] == [1.0] * 4
        assert tiny.same(tiny.bits(first.student), tiny.bits(second.student))
        plain = run(**common)
        for (name, one), (_, other) in zip(
            first.student.state_dict().items(), plain.student.state_dict().items(), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=5e-2, atol=5e-3, msg=name)

    def test_replays_mixed_images(self, tmp_path: Path) -> None:
        cache, reports = CacheConfig("replay", str(tmp_path)), []
        common = {"stages": ["kd"], "augmentation": AugmentationConfig(mixup=0.3), "teacher_cache": cache}
        first = run(on_epoch=reports.append, seed=1, **common)
        again = run(on_epoch=reports.append, seed=1, **common)
        assert [report.cache_hits for report in reports] == [0.0] * 4 + [1.0] * 4
        assert tiny.same(tiny.bits(first.student), tiny.bits(again.student))

    def test_cannot_replay_repeats(self, tmp_path: Path) -> None:
        (note,) = self.notes("replay", tmp_path, repeats=2)[0]
        assert "data.augmentation.repeats gives several" in note


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "trivial_augment", "flip": True}, r"flip, policy: the data set gives floats"),
        ({"random_resized_crop": {}}, "random_resized_crop: the data set gives floats"),
        ({"rotation": 5, "padding": 2}, "padding, rotation: the data set gives floats"),
        ({"consistent": False, "mixup": 0.2}, "consistent: false: the data set gives floats"),
    ],
)
def test_floats_cannot_be_changed_as_bytes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^data\.augmentation: {message}"):
        run(train=floats("train"), test=floats("test"), augmentation=AugmentationConfig(**settings))


def test_floats_can_be_mixed_erased_and_repeated() -> None:
    settings = AugmentationConfig(mixup=0.3, repeats=2, random_erasing={})  # type: ignore[arg-type]
    plain, changed = (run(train=floats("train"), augmentation=own) for own in (None, settings))
    assert not tiny.same(tiny.bits(plain.student), tiny.bits(changed.student))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"color_jitter": {"hue": 0.1}}, "color_jitter: saturation and hue need images of 3 channels, not 1"),
        ({"padding": 9}, "padding: must be at most 8"),
    ],
)
def test_images_that_do_not_allow_it(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^data\.augmentation\.{message}"):
        run(augmentation=AugmentationConfig(**settings))


def test_a_later_stage_that_needs_one_class_is_refused_before_training() -> None:
    reports: list[Any] = []
    with pytest.raises(UserError, match=r"^stages\.1: dkd: its loss needs one class"):
        run(stages=["kd", "dkd"], augmentation=AugmentationConfig(mixup=0.2), on_epoch=reports.append)
    assert not reports


def test_spot_adaptive_distillation_takes_mixed_labels_and_no_other_images_of_the_teacher(tmp_path: Path) -> None:
    def trained(name: str, **settings: Any) -> None:
        recipe = tiny.recipe([(StageConfig(), ["fitnet", "sp"])], epochs=1, strategy="spot_adaptive")
        data = replace(recipe.data, augmentation=AugmentationConfig(**settings))
        tiny.trained(tiny.built(replace(recipe, data=data)), tmp_path / name)

    trained("mixed", mixup=0.5)
    losses = tiny.metrics(tmp_path / "mixed")[0]["losses"]
    assert {"ce", "policy.graft", "sp"} <= losses.keys()
    with pytest.raises(UserError, match=r"spot_adaptive: it joins features of teacher and student of the same image"):
        trained("inconsistent", consistent=False)


def test_an_objective_that_does_not_declare_to_take_mixed_labels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gating_for_mixing.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = tiny.recipe([(StageConfig(), ["kd"])], epochs=2, strategy="joint")
    from gating_for_mixing import Gated  # type: ignore[import-not-found]

    recipe = replace(recipe, strategy=Gated(), data=replace(recipe.data, augmentation=AugmentationConfig(mixup=0.2)))
    with pytest.raises(UserError, match=r"^strategy: \w+ is not defined for mixed labels"):
        tiny.trained(tiny.built(recipe), tmp_path / "run")


def test_accuracy_of_training_is_that_of_the_heavier_label() -> None:
    """With shares near 0 and 1 it is nearly the accuracy without mixing."""
    reports: list[Any] = []
    for alpha in (0.001, None):
        run(stages=[[]], anchor=None, augmentation=AugmentationConfig(mixup=alpha), on_epoch=reports.append)
    assert abs(reports[3].train_top1 - reports[7].train_top1) < 25
    assert reports[3].losses["ce"] == pytest.approx(reports[7].losses["ce"], rel=0.25)
