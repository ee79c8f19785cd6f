"""The same seed gives the same bits: with any number of workers, any cache, any order of a set."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.fault_folders import result
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_processes import Command, run
from tests.support.fault_trainings import OUT, TRAININGS, Training, streamed
from tests.support.program import PROCESS

CACHED = Training({"methods": ["kd", "fitnet"]}, cache="disk")


def trained(laboratory: Laboratory, training: Training, here: Path | None = None, **environment: str) -> dict[str, Any]:
    """Weights and metrics of a training, bit by bit, but for times."""
    here = here or laboratory.place(training)
    ended = run(Command(here, training.words, environment=environment))
    assert ended.code == 0, ended  # PyTorch may warn that there are more workers than cores
    found: dict[str, Any] = result(here, (OUT,))[OUT]
    return {name: found[name] for name in ("weights", "metrics", "pretraining")}


def test_any_number_of_workers(laboratory: Laboratory) -> None:
    without = trained(laboratory, streamed(0))
    for workers in (1, 4):
        assert trained(laboratory, streamed(workers)) == without


def test_a_cache_in_memory_or_on_disk_cold_or_warm(laboratory: Laboratory) -> None:
    here = laboratory.place(CACHED)
    cold = trained(laboratory, CACHED, here)
    (here / OUT).rename(here / "first")
    warm = trained(laboratory, CACHED, here)
    assert warm["weights"] == cold["weights"]
    assert warm == cold
    assert trained(laboratory, replace(CACHED, cache="memory")) == cold


def test_any_hash_seed(laboratory: Laboratory) -> None:
    name = "three stages, best and average"
    training = TRAININGS[name]
    here = laboratory.place(training)
    environment = {**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run([*PROCESS, *training.words], cwd=here, env=environment, check=True)
    assert result(here, training.folders) == laboratory.reference(name), "the processes of the others have another seed"
