"""Runs beside each other in one process: each is what it is alone."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.builder import networks
from smskd.data import Dataset
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.recipe import Recipe
from smskd.seeds import with_seed
from smskd.session import Run, begin, reopen
from smskd.sweeps import fitting
from smskd.sweeps.side_by_side import Message, train_side_by_side
from smskd.training.reports import EpochReport
from tests.support import tiny
from tests.support.short_run import short_recipe, trained

SEEDS = (0, 1, 2)
EPOCHS = 3


def begun(folder: Path, recipe: Recipe, seeds: Sequence[int] = SEEDS) -> list[Run]:
    return [begin(with_seed(recipe, seed), folder / f"seed{seed}") for seed in seeds]


def together(runs: Sequence[Run], most: int | None = None, told: Any = None) -> list[Message]:
    messages: list[Message] = []

    def take(message: Message) -> None:
        messages.append(message)
        if told is not None:
            told(message)

    loaded: list[tuple[Any, Dataset | Any]] = [(runs[0].recipe.data, runs[0].load())]
    train_side_by_side(runs, loaded, most, take)
    return messages


def kinds(messages: Sequence[Message], kind: str) -> list[int]:
    return sorted(message.run.recipe.runtime.seed for message in messages if message.kind == kind)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("alone")
    return [tiny.outcome(trained(folder / f"seed{seed}", epochs=EPOCHS, seed=seed)) for seed in SEEDS]


def outcomes(folder: Path) -> list[dict[str, Any]]:
    return [tiny.outcome(folder / f"seed{seed}") for seed in SEEDS]


def test_three_seeds_are_those_that_they_are_alone(tmp_path: Path, alone: list[dict[str, Any]]) -> None:
    before = torch.get_rng_state(), torch.get_num_threads(), torch.backends.cudnn.deterministic
    names = set[str]()
    messages = together(
        begun(tmp_path, short_recipe(EPOCHS)),
        3,
        lambda _: names.update(thread.name for thread in threading.enumerate()),
    )
    assert kinds(messages, "finished") == [*SEEDS]
    assert outcomes(tmp_path) == alone
    assert sum(name.startswith("smskd-run") for name in names) == 3
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.backends.cudnn.deterministic)


def with_dropout(monkeypatch: pytest.MonkeyPatch, training_only_later: bool = False) -> None:
    """All students of the runs draw from the default generator in train mode, at once or from the third step on."""
    create = networks.create_with

    def made(*arguments: Any, **settings: Any) -> FeatureModel:
        model: FeatureModel = create(*arguments, **settings)
        steps = [0]

        def draw(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            steps[0] = steps[0] + 1 if module.training else 0
            late = training_only_later and steps[0] < 3
            return nn.functional.dropout(output, 0.3, training=module.training and not late)

        next(part for part in model.modules() if isinstance(part, nn.Conv2d)).register_forward_hook(draw)
        return model

    monkeypatch.setattr("smskd.builder.networks.create_with", made)


@pytest.mark.parametrize("later", [False, True])
def test_runs_with_dropout_are_those_that_they_are_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    with_dropout(monkeypatch, later)
    expected = [tiny.outcome(trained(tmp_path / f"alone{seed}", epochs=EPOCHS, seed=seed)) for seed in SEEDS]
    messages = together(begun(tmp_path, short_recipe(EPOCHS)), 3)
    assert outcomes(tmp_path) == expected
    words = "alone" if later else "draw random numbers"
    assert any(words in str(message.content) for message in messages if message.kind == "note")


def test_a_run_that_fails_does_not_touch_the_others(
    tmp_path: Path, alone: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from smskd.objective.weighted_sum import WeightedSum

    runs = begun(tmp_path, short_recipe(EPOCHS))
    forward, steps = WeightedSum.forward, dict[int, int]()

    def failing(self: WeightedSum, batch: Any) -> Any:
        steps[threading.get_ident()] = steps.get(threading.get_ident(), 0) + 1
        if threading.current_thread().name == "smskd-run-1" and steps[threading.get_ident()] == 9:
            raise ZeroDivisionError("a mistake in a method")
        return forward(self, batch)

    monkeypatch.setattr(WeightedSum, "forward", failing)
    messages = together(runs, 3)
    (failed,) = [message for message in messages if message.kind == "failed"]
    assert isinstance(failed.content, ZeroDivisionError)
    seed = failed.run.recipe.runtime.seed
    assert kinds(messages, "finished") == [other for other in SEEDS if other != seed]
    rest = [other for other in SEEDS if other != seed]
    assert [tiny.outcome(tmp_path / f"seed{other}") for other in rest] == [alone[other] for other in rest]


def test_ctrl_c_ends_all_and_all_resume(tmp_path: Path, alone: list[dict[str, Any]]) -> None:
    def interrupt(message: Message) -> None:
        if isinstance(message.content, EpochReport) and message.content.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(begun(tmp_path, short_recipe(EPOCHS)), 3, interrupt)
    assert not any(thread.name.startswith("smskd-run") for thread in threading.enumerate())
    left = [run for run in reopen(tmp_path) if not run.folder.finished]
    assert left
    together(left, 3)
    assert outcomes(tmp_path) == alone


def test_memory_of_the_first_run_limits_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smskd.sweeps.fitting.MemoryMeter.used", lambda self: 100)
    monkeypatch.setattr("smskd.sweeps.fitting.MemoryMeter.free", lambda self: 115)
    most = 0

    def count(_: Message) -> None:
        nonlocal most
        most = max(most, sum(thread.name.startswith("smskd-run") for thread in threading.enumerate()))

    messages = together(begun(tmp_path, short_recipe(EPOCHS)), 3, count)
    assert kinds(messages, "finished") == [*SEEDS]
    assert most == 2
    assert any("2 of 3 runs" in str(message.content) for message in messages)


@pytest.mark.parametrize(
    ("cores", "free", "reason"),
    [(2, 10_000, "one for each core"), (8, 115, "the first one takes 100 bytes of memory, and 115 bytes are free")],
)
def test_the_reason_for_their_number_is_named(
    cores: int, free: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting.MemoryMeter, "used", lambda self: 100)
    monkeypatch.setattr(fitting.MemoryMeter, "free", lambda self: free)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    device = torch.device("cpu")
    assert fitting.most_at_once(100, free, device) == 2
    assert fitting.why_no_more(fitting.MemoryMeter(device), 2, device) == reason


def test_a_run_without_memory_beside_others_goes_on_later(
    tmp_path: Path, alone: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from smskd.objective.weighted_sum import WeightedSum

    forward, failures = WeightedSum.forward, [1]

    def failing(self: WeightedSum, batch: Any) -> Any:
        if threading.current_thread().name == "smskd-run-1" and failures:
            failures.clear()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, batch)

    monkeypatch.setattr(WeightedSum, "forward", failing)
    messages = together(begun(tmp_path, short_recipe(EPOCHS)), 3)
    assert not failures
    assert kinds(messages, "finished") == [*SEEDS]
    assert outcomes(tmp_path) == alone


@pytest.mark.parametrize(("key", "words"), [("tf32", "runtime.tf32"), ("workers", "data.loader.workers=0")])
def test_runs_that_cannot_be_beside_each_other(tmp_path: Path, key: str, words: str) -> None:
    from dataclasses import replace

    recipe = short_recipe(EPOCHS)
    if key == "tf32":
        others = [begin(recipe, tmp_path / "1"), begin(short_recipe(EPOCHS, tf32=False), tmp_path / "2")]
    else:
        loader = replace(recipe.data.loader, kind="streaming", workers=1)
        others = [begin(replace(recipe, data=replace(recipe.data, loader=loader)), tmp_path / "1")]
    with pytest.raises(UserError, match=words):
        train_side_by_side(others, [], None, print)
