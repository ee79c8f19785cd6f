"""The files of a finished run, checked: their shapes, and whether they fit each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs import contents
from smskd.runs.file_names import SUMMARY, SUMMARY_FORMAT
from smskd.runs.parsing import json_lines, json_mapping

_OUTCOMES = ("retained", "forgotten", "learned", "never_known")


def read_summary(file: Path) -> dict[str, Any]:
    """``summary.json``.

    Raises:
        UserError: it is missing, of another format, damaged, or contradicts itself.
    """
    summary = json_mapping(file, SUMMARY_FORMAT)
    wrong = contents.problem(contents.SUMMARY, summary) or _inconsistency(summary)
    if wrong:
        raise UserError(f"{file}: damaged: {wrong}")
    return summary


def _inconsistency(summary: Mapping[str, Any]) -> str | None:
    """What contradicts itself in a summary whose shape is right."""
    last = 0
    for number, stage in enumerate(summary["stages"], start=1):
        if (stage["index"], stage["epochs"][0]) != (number, last + 1) or stage["epochs"][1] <= last:
            return f"stages.{number - 1}.epochs do not follow those of the stage before"
        last = stage["epochs"][1]
        outcomes = [stage[key] for key in _OUTCOMES]
        known = [count for count in outcomes if count is not None]
        if known and (len(known) < len(outcomes) or sum(known) != summary["data"]["test_samples"]):
            return f"stages.{number - 1}: {', '.join(_OUTCOMES)} are not all of data.test_samples"
    if last != summary["epochs"]:
        return f"the stages have {last} epochs, the run {summary['epochs']}"
    if summary["identity"].get("runtime.seed") != summary["seed"]:
        return "seed is not that of identity"
    return None


def read_metrics(file: Path, summary: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The entries of ``metrics.jsonl``, in the order of their epochs.

    Args:
        file: to read.
        summary: of the same run.

    Raises:
        UserError: the file is missing or damaged, or not of the run that the summary describes.
    """
    epochs: dict[int, dict[str, Any]] = {}
    for number, entry in json_lines(file):
        wrong = contents.problem(contents.METRICS, entry)
        if not wrong and "total" not in entry["losses"]:
            wrong = "losses.total missing"
        if not wrong and entry["stage"] > len(summary["stages"]):
            wrong = f"stage must be at most {len(summary['stages'])}, not {entry['stage']}"
        if not wrong and not _are_all(entry.get("transitions"), summary["data"]["test_samples"]):
            wrong = f"transitions: {', '.join(_OUTCOMES)} are not all of data.test_samples"
        if wrong:
            raise UserError(f"{file}, line {number}: damaged: {wrong}")
        # An epoch that was trained again after a crash replaces the earlier entry.
        epochs[entry["epoch"]] = entry
    if not epochs:
        raise UserError(f"{file}: damaged: it contains no epoch")
    missing = [epoch for epoch in range(1, summary["epochs"] + 1) if epoch not in epochs]
    if missing or len(epochs) > summary["epochs"]:
        wrong = f"epoch {missing[0]} is missing" if missing else f"{len(epochs)} epochs"
        raise UserError(f"{file}: damaged: {wrong}; the run has {summary['epochs']} epochs")
    found = tuple(epochs[epoch] for epoch in sorted(epochs))
    if found[-1]["test_top1"] != summary["student"]["top1_last"]:
        raise UserError(f"{file}: damaged: test_top1 of the last epoch is not student.top1_last of {SUMMARY}")
    return found


def _are_all(outcomes: Mapping[str, int] | None, samples: int) -> bool:
    return outcomes is None or sum(outcomes[key] for key in _OUTCOMES) == samples


def read_pretraining(file: Path) -> tuple[dict[str, Any], ...]:
    """The entries of ``pretraining.jsonl``; none without such a file.

    Raises:
        UserError: it is damaged.
    """
    lines = []
    for number, entry in json_lines(file) if file.is_file() else ():
        wrong = contents.problem(contents.PRETRAINING, entry)
        if not wrong and "total" not in entry["losses"]:
            wrong = "losses.total missing"
        if wrong:
            raise UserError(f"{file}, line {number}: damaged: {wrong}")
        lines.append(entry)
    return tuple(lines)


def read_environment(file: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The environment, which no result depends on, and what is wrong with its file."""
    try:
        return json_mapping(file), ()
    except UserError as error:
        return {}, (f"{str(error).removesuffix('; train the run again')}; the environment of the run is unknown",)
