"""Analyses of runs as CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from smskd.analysis.visible import spreadsheet_text
from smskd.diagnostics import RunAnalysis
from smskd.diagnostics.ceiling import Ceiling
from smskd.diagnostics.gradients import GradientConflict


def as_csv(found: Sequence[RunAnalysis], ceilings: Sequence[Ceiling]) -> str:
    """A line for each number: run, name, seed, stage, its name as a path, value.

    Args:
        found: the analyses.
        ceilings: over runs; in their lines run, name and seed are empty, and the stage is their number of stages.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("run", "name", "seed", "stage", "measure", "value"))
    for each in found:
        run = (spreadsheet_text(each.run), spreadsheet_text(each.name), each.seed)
        assert each.cost is not None
        for stage, cost in zip(each.stages, each.cost.stages, strict=True):
            values = {key: value for key, value in asdict(stage).items() if key not in ("stage", "methods", "conflict")}
            values |= {"cost": asdict(cost), "conflict": _conflict(stage.conflict)}
            for measure, value in _leaves(values):
                writer.writerow((*run, stage.stage, spreadsheet_text(measure), value))
        networks = {"student": each.cost.student, "teacher": each.cost.teacher}
        whole: dict[str, Any] = {
            name: network and _without_model(asdict(network)) for name, network in networks.items()
        }
        whole["ceiling"] = each.ceiling and each.ceiling.stages
        for measure, value in _leaves(whole):
            writer.writerow((*run, "", measure, value))
    for ceiling in ceilings:
        for point in ceiling.points:
            values = {key: value for key, value in asdict(point).items() if key not in ("stages", "methods", "seeds")}
            for measure, value in _leaves({"ceiling": values}):
                writer.writerow(("", "", "", point.stages, measure, value))
        for measure, value in _leaves({"ceiling": ceiling.stages}):
            writer.writerow(("", "", "", "", measure, value))
    return out.getvalue()


def _conflict(found: GradientConflict | None) -> dict[str, Any]:
    if found is None:
        return {}
    pairs = {"-".join(pair.parts): {**asdict(pair)["cosines"], "fights": pair.fights} for pair in found.pairs}
    return {"norm": found.norms, "cosine": pairs}


def _without_model(network: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in network.items() if key != "model"}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str | float | int]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, tuple):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}.{place}")
    elif value is not None:
        yield path, int(value) if isinstance(value, bool) else value
