"""The training state: saved and put back at the end of any epoch, it is the same and training goes on the same."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd.runs.folder import Checkpoint, RunFolder
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from smskd.training.state import TrainingState
from tests.support import run_cases, tiny

Make = Callable[[], RunConfig]
CASES: tuple[Make, ...] = (
    run_cases.three_stages,
    run_cases.ft,
    run_cases.simkd,
    run_cases.ewc,
    run_cases.l2_sp,
)


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run.

    Attributes:
        make: its configuration, afresh.
        folder: where it is finished.
        copies: of the folder as it was at the end of each epoch, those of pretraining phases included.
    """

    make: Make
    folder: Path
    copies: tuple[Path, ...]


@pytest.fixture(scope="module", params=CASES, ids=lambda make: make.__name__)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    parent = tmp_path_factory.mktemp(request.param.__name__)
    folder = parent / "whole"
    folder.mkdir()
    copies = []
    for number, _ in enumerate(tiny.epochs_of(request.param(), folder)):
        copies.append(parent / str(number))
        shutil.copytree(folder, copies[-1])
    return Whole(request.param, folder, tuple(copies))


def loaded(make: Make, checkpoint: Checkpoint) -> TrainingState:
    with preserved_globals():
        state = TrainingState(make())
        state.load_state_dict(parts_of(checkpoint))
    return state


def parts_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as a state dict."""
    parts = {name.partition(".")[0] for name in checkpoint.tensors}
    return {**{part: checkpoint.part(part) for part in parts}, "counters": checkpoint.values["counters"]}


def checkpoint_in(folder: Path) -> Checkpoint:
    checkpoint = RunFolder(folder).load_checkpoint()
    assert checkpoint is not None
    return checkpoint


def test_what_is_loaded_is_what_was_saved(whole: Whole) -> None:
    for copy in whole.copies:
        saved = checkpoint_in(copy)
        again = loaded(whole.make, saved).state_dict()
        counters = json.loads(json.dumps(again.pop("counters")))
        assert counters == saved.values["counters"]
        tensors = {f"{part}.{name}": value for part, own in again.items() for name, value in own.items()}
        assert tiny.same(tensors, saved.tensors)


def test_training_goes_on_from_the_end_of_each_epoch(whole: Whole) -> None:
    expected = tiny.outcome(whole.folder)
    for copy in whole.copies:
        again = copy.with_name(f"resumed-{copy.name}")
        shutil.copytree(copy, again)
        tiny.trained(whole.make(), again)
        assert tiny.outcome(again) == expected


def test_every_checkpoint_and_the_summary_have_the_digest(whole: Whole) -> None:
    digest = whole.make().identity.digest
    assert {checkpoint_in(copy).values["digest"] for copy in whole.copies} == {digest}
    assert tiny.summary(whole.folder)["digest"] == digest


SAVED = {
    "three_stages": (r"best\.", r"ema\.", r"reference\.", r"optimizer\.", r"terms\.\d+\.\w*memory", r"test\.known"),
    "ft": (r"phase0\.", r"terms\.\d+\.paraphraser\."),
    "simkd": (r"student\.head\.", r"student\.backbone\.", r"reference\.head\.", r"ema\.head\."),
    "ewc": (r"terms\.\d+\.fisher/",),
    "l2_sp": (r"reference\.",),
}
"""Tensors that the cases are there for."""


def test_every_kind_of_tensor_is_saved_by_some_case(whole: Whole) -> None:
    names = {name for copy in whole.copies for name in checkpoint_in(copy).tensors}
    for pattern in SAVED[whole.make.__name__]:
        assert any(re.match(pattern, name) for name in names), (pattern, sorted(names))


def test_the_reference_is_restored_as_a_reference(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights never pass through the student."""
    saved = checkpoint_in(whole.copies[-1])
    with preserved_globals():
        made = whole.make()
    through_student: list[dict[str, Tensor]] = []
    load = torch.nn.Module.load_state_dict

    def spied(self: torch.nn.Module, weights: Any, *rest: Any, **options: Any) -> Any:
        if self is made.student or self is made.student.wrapped:
            through_student.append(dict(weights))
        return load(self, weights, *rest, **options)

    monkeypatch.setattr(torch.nn.Module, "load_state_dict", spied)
    with preserved_globals():
        state = TrainingState(made)
        state.load_state_dict(parts_of(saved))
    assert state.reference is not None
    assert tiny.same(tiny.bits(state.reference), saved.part("reference"))
    assert tiny.same(tiny.bits(state.student), saved.part("student"))
    assert not tiny.same(saved.part("student"), saved.part("reference"))
    assert all(tiny.same(weights, saved.part("student")) for weights in through_student)
