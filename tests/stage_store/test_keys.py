"""Equal keys stand for equal ends of stages: everything that determines one is in its key, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.cache import CacheConfig
from smskd.config.given import given
from smskd.config.models import TeacherConfig
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.stage import StageConfig
from smskd.recipe import Recipe
from smskd.training import stage_keys as keys
from smskd.training.config import RunConfig
from tests.support import tiny

A, B = (StageConfig(ends_after=2), ["fitnet"]), (StageConfig(), ["kd"])
STEPS = ScheduleConfig(decay_at=(2, 4))


def recipe(stages: Any = (A, B), *, epochs: int = 4, **changes: Any) -> Recipe:
    return tiny.recipe(stages, epochs=epochs, **{"anchor": ReferenceKL(), "schedule": STEPS, **changes})


def digests(wanted: Recipe, **objects: Any) -> list[str]:
    return [key.digest for key in keys.stage_keys(tiny.built(wanted, **objects))]


@pytest.fixture(scope="module")
def usual() -> list[str]:
    return digests(recipe())


def stage(first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> Recipe:
    return recipe([(replace(A[0], **first or {}), A[1]), (replace(B[0], **second or {}), B[1])])


def test_a_later_stage_does_not_change_an_earlier_one(usual: list[str]) -> None:
    assert digests(recipe([A, (StageConfig(), ["sp"])]))[0] == usual[0]
    assert digests(recipe([A, (StageConfig(), ["sp"])]))[1] != usual[1]
    assert digests(recipe([A, (StageConfig(ends_after=4), ["kd"]), (StageConfig(), ["sp"])], epochs=6))[:2] == usual
    assert digests(recipe([(StageConfig(ends_after=2), ["fitnet"])], epochs=2)) == usual[:1]


def test_the_first_stage_of_other_stages_is_in_the_key_of_the_second(usual: list[str]) -> None:
    changed = digests(recipe([(StageConfig(ends_after=2), ["at"]), B]))
    assert changed[0] != usual[0]
    assert changed[1] != usual[1]


BOTH: dict[str, Callable[[], list[str]]] = {
    "seed": lambda: digests(recipe(seed=1)),
    "epochs of a cosine": lambda: digests(recipe(schedule=ScheduleConfig("cosine"))),
    "optimizer": lambda: digests(recipe(optimizer=OptimizerConfig(momentum=0.8))),
    "batch size": lambda: digests(recipe(batch_size=15)),
    "precision": lambda: digests(recipe(precision="bf16")),
    "on_nan": lambda: digests(recipe(on_nan="skip")),
    "data": lambda: digests(recipe(validation=10)),
    "student": lambda: digests(recipe(), learner=tiny.student(seed=9)),
    "teacher": lambda: digests(recipe(), source=tiny.teacher(seed=9)),
    "cache": lambda: digests(recipe(teacher=TeacherConfig(given(tiny.EXAMPLE), cache=CacheConfig("memory")))),
    "ce_weight": lambda: digests(stage({"ce_weight": 0.5})),
    "ends_after": lambda: digests(stage({"ends_after": 3})),
    "carry": lambda: digests(stage({"carry": "ema"})),
    "schedule of the stage": lambda: digests(stage({"schedule": ScheduleConfig("constant", learning_rate=0.1)})),
}


@pytest.mark.parametrize("what", BOTH)
def test_changes_of_all_stages(what: str, usual: list[str]) -> None:
    changed = BOTH[what]()
    assert changed[0] != usual[0]
    assert changed[1] != usual[1]


SECOND: dict[str, Callable[[], list[str]]] = {
    "anchor": lambda: digests(recipe(anchor=ReferenceKL(weight=0.9))),
    "learning rate later": lambda: digests(recipe(schedule=ScheduleConfig(decay_at=(3,)))),
    "optimizer_state": lambda: digests(stage(second={"optimizer_state": "reset"})),
    "optimizer of the stage": lambda: digests(stage(second={"optimizer": OptimizerConfig(momentum=0.8)})),
}


@pytest.mark.parametrize("what", SECOND)
def test_changes_of_the_second_stage_alone(what: str, usual: list[str]) -> None:
    changed = SECOND[what]()
    assert changed[0] == usual[0]
    assert changed[1] != usual[1]


NONE: dict[str, Callable[[], Recipe]] = {
    "name": lambda: replace(recipe(), name="other"),
    "checkpoints": lambda: recipe(checkpoint_every=3, checkpoint_minutes=1.0, keep_checkpoints=2),
    "store": lambda: recipe(store="elsewhere"),
    "device by its name": lambda: recipe(device="auto") if not torch.cuda.is_available() else recipe(),
    "shares of the epochs": lambda: recipe(schedule=ScheduleConfig(decay_at=("1/2", 4))),
}


@pytest.mark.parametrize("what", NONE)
def test_changes_of_nothing(what: str, usual: list[str]) -> None:
    assert digests(NONE[what]()) == usual


def test_more_epochs_change_a_cosine_and_not_steps() -> None:
    def first(schedule: ScheduleConfig, epochs: int) -> str:
        return digests(recipe([A, (StageConfig(ends_after=4), ["kd"])], epochs=epochs, schedule=schedule))[0]

    assert first(STEPS, 4) == first(STEPS, 8)
    assert first(ScheduleConfig("cosine"), 4) != first(ScheduleConfig("cosine"), 8)


def test_the_reference_that_a_last_stage_freezes_changes_what_comes_after_it_alone() -> None:
    """The best weights are kept for it, and so they are in the file of the stage."""
    last = digests(stage({"reference": "last"}))
    ema = digests(stage({"reference": "ema"}))
    carried = digests(stage({"carry": "ema"}))
    assert ema[0] == carried[0] != last[0]
    assert len({last[1], ema[1], carried[1]}) == 3


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(keys, "own_code", lambda: "other"), (torch, "get_num_threads", lambda: 77)],
    ids=["code", "threads"],
)
def test_code_and_machine(
    module: Any, name: str, value: Any, usual: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, value)
    assert not set(digests(recipe())) & set(usual)


def test_code_that_is_not_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store_helper.py").write_text("SCALE = 1.0\n", encoding="utf-8")
    (tmp_path / "store_terms.py").write_text(
        "from dataclasses import dataclass\n\nfrom smskd.methods.kd import KD\nfrom store_helper import SCALE\n\n\n"
        "@dataclass(frozen=True)\nclass Scaled(KD):\n    factor: float = SCALE\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    wanted = recipe([A, (StageConfig(), [imported("store_terms").Scaled()])])
    before = digests(wanted)
    assert before == digests(wanted)
    (tmp_path / "store_helper.py").write_text("SCALE = 1.0  # or so\n", encoding="utf-8")
    after = digests(wanted)
    assert after[0] == before[0]
    assert after[1] != before[1]


def imported(name: str) -> Any:
    return __import__(name)


def test_code_without_a_source_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: RunConfig = tiny.built(recipe())
    method = made.recipe.stages[0].methods[0].method
    monkeypatch.setattr(type(method), "__module__", "nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        keys.stage_keys(made)
