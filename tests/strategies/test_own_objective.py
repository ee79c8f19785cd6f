"""A strategy of a third party with an objective of its own: gates per sample, from a learned policy."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import smskd
from smskd import Objective, ReferenceKL, StageConfig
from smskd.config.base import ComponentConfig
from smskd.interfaces.batch import Batch
from smskd.models import save_weights
from smskd.recipe import Recipe, parse
from smskd.registry import STRATEGIES
from smskd.runs.folder import RunFolder
from smskd.strategies.base import Strategy
from smskd.training.state import TrainingState
from tests.support import gating_strategy, own_data, tiny

MODULE = "third_party_gating"
STAGES: list[tuple[StageConfig, tiny.Methods]] = [
    (StageConfig(ends_after=3), ["kd"]),
    (StageConfig(ends_after=5), ["fitnet"]),
]


@pytest.fixture(scope="module", autouse=True)
def name(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the strategy in a recipe."""
    folder = tmp_path_factory.mktemp("site-packages")
    name = gating_strategy.write(folder, MODULE)
    sys.path.insert(0, str(folder))
    yield name
    sys.path.remove(str(folder))
    sys.modules.pop(MODULE, None)


def recipe(name: str, **options: Any) -> Recipe:
    strategy = ComponentConfig(name, {"feature": "stage3", "learning_rate": 0.02, **options})
    return tiny.recipe(STAGES, epochs=5, anchor=ReferenceKL(), strategy=strategy)


def begun(name: str) -> TrainingState:
    """At the start of the first stage."""
    state = TrainingState(tiny.built(recipe(name)))
    state.begin_stage(0)
    return state


def batch() -> Batch:
    return next(iter(tiny.loader().epoch(1)))


def module_of(objective: Objective, name: str) -> Any:
    own: Any = objective.get_submodule("own")
    return own[name]


def test_the_policy_has_its_own_optimizer_settings(name: str) -> None:
    state = begun(name)
    student, adapter, policy = state.step.optimizer.param_groups
    assert (student["lr"], adapter["lr"], policy["lr"]) == (0.05, 0.05, 0.02)
    assert (student["weight_decay"], policy["weight_decay"]) == (5e-4, 0.0)
    assert policy["params"] == list(module_of(state.objective, "policy").parameters())


def test_gradients_flow_through_the_later_layers_of_the_teacher(name: str) -> None:
    state = begun(name)
    teacher = state.config.teachers[0]
    assert teacher is not None
    before = tiny.bits(teacher)
    state.objective(batch()).parts["routed"].backward()
    policy, adapter = (module_of(state.objective, name) for name in ("policy", "adapter"))
    for layer in (policy[-1], adapter, state.student.get_submodule("conv1")):
        gradient: Any = layer.weight.grad
        assert bool((gradient != 0).any())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert tiny.same(tiny.bits(teacher), before)


def test_the_gate_weights_the_method_per_sample(name: str) -> None:
    state, item = begun(name), batch()
    plain = smskd.build_objective(tiny.student(), tiny.teacher(), methods=["kd"], example=tiny.EXAMPLE)(item).parts
    linear = module_of(state.objective, "policy")[-1]
    torch.nn.init.zeros_(linear.weight)
    for bias, share in ((30.0, 1.0), (0.0, 0.5), (-30.0, 0.0)):
        torch.nn.init.constant_(linear.bias, bias)
        parts = state.objective(item).parts
        torch.testing.assert_close(parts["kd"], share * plain["kd"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(parts["ce"], plain["ce"])


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_resumed_in_the_middle_of_a_stage_it_ends_bit_identical(
    epochs: int, name: str, tmp_path: Path, uninterrupted: Path
) -> None:
    made = tiny.built(recipe(name))
    reports = tiny.epochs_of(made, tmp_path)
    for _ in range(epochs):
        next(reports)
    reports.close()
    tiny.trained(tiny.built(recipe(name)), tmp_path)
    assert tiny.outcome(tmp_path) == tiny.outcome(uninterrupted)
    found, expected = (checkpoint_tensors(folder) for folder in (tmp_path, uninterrupted))
    assert any("policy" in key for key in expected)
    assert tiny.same(found, expected)


def test_it_trains_with_both_frozen_networks(uninterrupted: Path) -> None:
    lines = tiny.metrics(uninterrupted)
    assert [list(line["losses"]) for line in lines[2:4]] == [
        ["total", "ce", "kd", "routed"],
        ["total", "ce", "fitnet", "routed", "anchor"],
    ]


def test_named_in_a_recipe_and_through_distill(name: str, tmp_path: Path) -> None:
    save_weights(tiny.teacher(), tmp_path / "teacher.safetensors")
    written = parse(
        {
            "data": {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}},
            "teacher": {"name": "resnet8_w4", "weights": str(tmp_path / "teacher.safetensors")},
            "student": "resnet8_w2",
            "training": {"epochs": 1, "batch_size": tiny.BATCH},
            "runtime": {"device": "cpu"},
            "strategy": {"name": name, "learning_rate": 0.03},
            "methods": ["kd"],
        }
    )
    smskd.train(written, out=tmp_path / "run")
    assert "routed" in tiny.metrics(tmp_path / "run")[0]["losses"]
    assert f"name: {name}" in (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8")

    made: Callable[..., Strategy] = STRATEGIES.find(name)
    students = []
    for strategy in (name, made()):
        reports: list[Any] = []
        arguments: dict[str, Any] = {"methods": ["kd"], "strategy": strategy, "epochs": 1, "on_epoch": reports.append}
        result = own_data.distilled(made=tiny.student(), teacher=tiny.teacher(), **arguments)
        assert "routed" in reports[0].losses
        students.append(tiny.bits(result.student))
    assert tiny.same(*students)


@pytest.fixture(scope="module")
def uninterrupted(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    tiny.trained(tiny.built(recipe(name)), folder)
    return folder


def checkpoint_tensors(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = RunFolder(folder).load_checkpoint()
    assert checkpoint is not None
    return dict(checkpoint.tensors)
