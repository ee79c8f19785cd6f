"""A run leaves the global state of the process as it was, however it ends; and the snapshot of random generators."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smskd.config.optimization import OptimizerConfig
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from smskd.training.rng import RngSnapshot
from tests.support import tiny

GLOBALS: dict[str, Callable[[], Any]] = {
    "torch": lambda: torch.get_rng_state().tolist(),
    "numpy": lambda: [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
    "python": random.getstate,
    "deterministic": lambda: torch.backends.cudnn.deterministic,
    "benchmark": lambda: torch.backends.cudnn.benchmark,
    "cudnn tf32": lambda: torch.backends.cudnn.allow_tf32,
    "matmul tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
    "threads": torch.get_num_threads,
    "gradients": torch.is_grad_enabled,
    "precision": torch.get_default_dtype,
}


@pytest.fixture
def unusual() -> Iterator[dict[str, Any]]:
    """Global state that no run would choose."""
    with preserved_globals():
        torch.manual_seed(71)
        np.random.seed(72)
        random.seed(73)
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.set_num_threads(2)
        yield {name: state() for name, state in GLOBALS.items()}


def made(**settings: Any) -> RunConfig:
    return tiny.built(tiny.recipe([(StageConfig(ends_after=1), ["fitnet"]), (StageConfig(), [])], epochs=2, **settings))


def finished(folder: Path) -> None:
    tiny.trained(made(), folder)


def failed(folder: Path) -> None:
    with pytest.raises(UserError, match="no longer finite"):
        tiny.trained(made(optimizer=OptimizerConfig(learning_rate=1e30)), folder)


def closed(folder: Path) -> None:
    reports = tiny.epochs_of(made(), folder)
    next(reports)
    changed = {name for name, state in GLOBALS.items() if name in RUN_SETS and state() == RUN_SETS[name]}
    assert changed == RUN_SETS.keys()
    reports.close()


RUN_SETS: dict[str, Any] = {
    "deterministic": True,
    "benchmark": False,
    "cudnn tf32": True,
    "matmul tf32": True,
    "threads": 1,
}
"""State that a small run has while it goes on."""


@pytest.mark.parametrize("end", [finished, failed, closed])
def test_a_run_leaves_global_state_as_it_was(
    end: Callable[[Path], None], unusual: dict[str, Any], tmp_path: Path
) -> None:
    end(tmp_path)
    assert {name: state() for name, state in GLOBALS.items()} == unusual


def test_building_leaves_it_too(unusual: dict[str, Any]) -> None:
    made()
    assert {name: state() for name, state in GLOBALS.items()} == unusual


class TestRngSnapshot:
    @pytest.mark.parametrize(
        "draw",
        [
            lambda own: torch.rand(()),
            lambda own: np.random.rand(),
            lambda own: random.random(),
            lambda own: torch.rand((), generator=own),
        ],
        ids=["torch", "numpy", "python", "own"],
    )
    def test_draws_are_noticed_and_put_back(self, draw: Callable[[torch.Generator], Any]) -> None:
        own = torch.Generator().manual_seed(3)
        with preserved_globals():
            snapshot = RngSnapshot([own])
            assert not snapshot.moved_on_the_cpu
            first = draw(own)
            assert snapshot.moved_on_the_cpu
            snapshot.restore()
            assert not snapshot.moved_on_the_cpu
            assert draw(own) == first
