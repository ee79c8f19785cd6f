"""The same seed gives the same run, bit by bit, whatever the program drew before."""

from pathlib import Path
from typing import Any

import torch

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import StageConfig
from tests.support import tiny
from tests.support.run_cases import noisy_student


def outcome(folder: Path, seed: int = 0, drawn: int = 0) -> dict[str, Any]:
    """A run with dropout, CRD's memory and a moving average; ``drawn`` numbers are drawn beforehand."""
    stages = [(StageConfig(reference="ema"), ["vid", tiny.SMALL_CRD]), (StageConfig(), ["kd"])]
    made = tiny.built(tiny.recipe(stages, epochs=4, anchor=ReferenceKL(), seed=seed), learner=noisy_student())
    torch.rand(drawn)
    tiny.trained(made, folder)
    return tiny.outcome(folder)


def test_seeds(tmp_path: Path) -> None:
    first = outcome(tmp_path / "1")
    assert outcome(tmp_path / "2", drawn=17) == first
    other = outcome(tmp_path / "3", seed=1)
    assert other["weights"] != first["weights"]
    assert other["metrics"] != first["metrics"]
