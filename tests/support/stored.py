"""Runs with a store of stages."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from smskd.runs.folder import RunFolder
from smskd.training.config import RunConfig
from smskd.training.reports import EpochReport, StoreReport
from smskd.training.run import Report, run
from tests.support import tiny

Make = Callable[[], RunConfig]


def with_store(made: RunConfig, store: Path | None) -> RunConfig:
    """The run with another store, or without one."""
    runtime = replace(made.recipe.runtime, store=None if store is None else str(store))
    return replace(made, recipe=replace(made.recipe, runtime=runtime))


def reports(made: RunConfig, folder: Path, store: Path | None) -> list[Report]:
    """Runs to the end, and returns everything that the run reports."""
    folder.mkdir(exist_ok=True)
    found = list(run(with_store(made, store), RunFolder(folder)))
    RunFolder(folder).conclude()
    return found


def trained_epochs(found: list[Report]) -> list[int]:
    """The epochs that were trained, and not taken from a store."""
    return [report.epoch for report in found if isinstance(report, EpochReport)]


def taken_stages(found: list[Report]) -> list[int]:
    return [report.stage for report in found if isinstance(report, StoreReport) and report.waits_for is None]


def outcome(folder: Path) -> dict[str, Any]:
    """:func:`tiny.outcome`, without what tells which stages were taken from a store."""
    found: dict[str, Any] = _without_stored(tiny.outcome(folder))
    return found


def _without_stored(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_stored(item) for key, item in value.items() if key != "stored"}
    return [_without_stored(item) for item in value] if isinstance(value, list) else value


def files(store: Path) -> list[Path]:
    """The files of stages in a store."""
    return sorted(store.glob("*.safetensors"))
