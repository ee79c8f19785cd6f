"""A finished run with a damaged file: every reader gives what it gave before, or one line."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import smskd
from smskd.errors import UserError
from tests.support.fault_damage import Damage
from tests.support.fault_trainings import OUT
from tests.support.program import smskd as program

_TOLD = "the environment of the run is unknown"
"""On a page without it; no result depends on it."""

Reader = Callable[[Path], Any]


def _printed(*words: str) -> Reader:
    """What a command prints, or its line if it refuses."""

    def read(here: Path) -> Any:
        outcome = program(*(str(here / OUT) if word == OUT else word for word in words))
        if outcome.code == 2 and outcome.err.count("\n") == 1:
            raise UserError(outcome.err)
        assert outcome.code == 0, outcome
        if "is written again from" in outcome.out:  # the student of a finished run, from its last stage
            raise UserError(outcome.out)
        return outcome.out.replace(str(here), "")

    return read


def _loaded(here: Path) -> dict[str, Any]:
    model: nn.Module = smskd.load(here / OUT)
    return {name: value.clone() for name, value in model.state_dict().items()}


def _page(here: Path) -> Any:
    _printed("report", OUT)(here)
    text = (here / OUT / "report.html").read_text(encoding="utf-8").replace(str(here), "")
    if _TOLD in text:
        raise UserError(f"on the page: {_TOLD}")
    return text


READERS: Mapping[str, Reader] = {
    "eval": _printed("eval", OUT, "--json"),
    "compare": _printed("compare", OUT, "--json"),
    "resume": _printed("resume", OUT),
    "load": _loaded,
}
"""Those that take a moment."""

ALL_READERS: Mapping[str, Reader] = {**READERS, "report": _page}


def readings(here: Path, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """What each reader gives; the error if it refuses."""
    found: dict[str, Any] = {}
    for name, read in readers.items():
        try:
            found[name] = read(here)
        except UserError as error:
            found[name] = error
    return found


def silently_other(
    finished: Path, damage: Damage, right: Mapping[str, Any], readers: Mapping[str, Reader]
) -> tuple[list[str], list[str]]:
    """The readers that give something else than before and do not refuse, and those that refuse.

    Args:
        finished: the training's folder, which stays as it is.
        right: what the readers give of it.
    """
    here = finished.with_name("damaged")
    shutil.copytree(finished, here)
    try:
        damage.inflict(here)
        found = readings(here, readers)
    finally:
        shutil.rmtree(here)
    refused = [name for name, value in found.items() if isinstance(value, UserError)]
    return [name for name in readers if name not in refused and not _same(found[name], right[name])], refused


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
    return bool(one == other)
