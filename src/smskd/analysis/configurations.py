"""Which runs are seeds of one configuration: those that are equal in everything that determines them but the seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smskd.analysis.format import percent
from smskd.runs.file_names import STORED
from smskd.runs.identity_keys import HARMLESS, INITIAL_STUDENT, SEED
from smskd.runs.reader import Run

_TIMES = ("images_per_second", "seconds", "cache_hits", STORED)
"""Values of an epoch that differ between equal runs."""

_HOST = ("platform", "cores")
"""Facts of the environment that change no result."""


def configuration(run: Run) -> Mapping[str, Any]:
    """Everything that determines the result of a run but its seed, by the key of the recipe.

    ``fingerprints.<name>`` stand for images and weights, and ``methods`` for those of all stages: ``fitnet → kd``.

    Args:
        run: a finished run.
    """
    left_out = {*SEED, *HARMLESS, *(() if _has_initial_weights(run) else (INITIAL_STUDENT,))}
    facts = {key: value for key, value in run.identity.items() if key not in left_out}
    return {"methods": " → ".join(" + ".join(stage["methods"]) or "plain" for stage in run.stages), **facts}


def grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs of each configuration and name, in the order of their first runs."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.name, _text(configuration(run))), []).append(run)
    return [part for group in groups.values() for part in _by_student(group)]


def without_copies(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs of a configuration, one for each seed, and a sentence for each run that is left out.

    Args:
        runs: of one configuration.
    """
    first: dict[int, Run] = {}
    notes = []
    for run in runs:
        twin = first.setdefault(run.seed, run)
        if twin is not run:
            notes.append(_told(twin, run))
    return list(first.values()), notes


def mixed_environments(runs: Sequence[Run]) -> str:
    """What differs between the environments of some runs: ``torch (2.11.0, 2.14.1), threads (1, 2)``; else empty.

    Args:
        runs: of one configuration.
    """
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for key, value in {**_flat(run.environment), **{key: run.identity.get(key) for key in HARMLESS}}.items():
            found.setdefault(key, {}).setdefault(_text(value) if not isinstance(value, str) else value)
    return ", ".join(f"{key} ({', '.join(values)})" for key, values in found.items() if len(values) > 1)


def _by_student(runs: Sequence[Run]) -> list[list[Run]]:
    """Apart by initial weights where one seed has several of them, so that these do not follow from the seed."""
    weights: dict[int, set[str]] = {}
    for run in runs:
        weights.setdefault(run.seed, set()).add(_text(run.identity.get(INITIAL_STUDENT)))
    if all(len(found) == 1 for found in weights.values()):
        return [list(runs)]
    parts: dict[str, list[Run]] = {}
    for run in runs:
        parts.setdefault(_text(run.identity.get(INITIAL_STUDENT)), []).append(run)
    return list(parts.values())


def _has_initial_weights(run: Run) -> bool:
    """Whether the student begins with weights from a file; without one they follow from the seed."""
    student = run.recipe.get("student")
    return isinstance(student, Mapping) and student.get("weights") is not None


def _told(first: Run, again: Run) -> str:
    both = f"{first.path} and {again.path}"
    if _results(first) == _results(again):
        return f"{both} are copies of one run ({first.name}, seed {first.seed}), which is counted once"
    results = ", ".join(f"{percent(run.summary['student']['top1_last'])} %" for run in (first, again))
    return f"{both}: two results for {first.name} with seed {first.seed} ({results}); only the first is counted"


def _results(run: Run) -> str:
    accuracies = {key: value for key, value in run.summary["student"].items() if "top" in key}
    return _text([accuracies, [{k: v for k, v in entry.items() if k not in _TIMES} for entry in run.metrics]])


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in _HOST:
            result[f"{prefix}{key}"] = value
    return result


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
