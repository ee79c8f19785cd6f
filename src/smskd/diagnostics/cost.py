"""The cost of a run and of its networks, as it was measured when the run was trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smskd.runs.reader import Run


@dataclass(frozen=True)
class NetworkCost:
    """Of a forward pass.

    Attributes:
        model: its name.
        parameters: number of parameters; None where it was not counted.
        macs: multiply-adds for one sample; None likewise.
        latency_milliseconds: of a forward pass in eval mode, median, by batch size (``1`` and ``64``); None where the
            network does not take such a batch.
    """

    model: str
    parameters: int | None
    macs: int | None
    latency_milliseconds: Mapping[str, float | None]


@dataclass(frozen=True)
class StageCost:
    """Of the training of a stage.

    Attributes:
        seconds: of its epochs, with tests.
        stored: whether the stage was taken from a store, and another run has trained it.
        milliseconds: of a step by part, see :class:`smskd.timing.Cost`; empty where it was not measured.
        step_milliseconds, images_per_second: of a step; None likewise.
        peak_memory_bytes: the most that was in use in the first epoch: by tensors on a GPU, by the process on a CPU.
    """

    seconds: float
    stored: bool
    milliseconds: Mapping[str, float]
    step_milliseconds: float | None
    images_per_second: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class RunCost:
    """Of a run.

    Attributes:
        student, teacher: of the networks; the teacher is None without one.
        stages: first to last.
    """

    student: NetworkCost
    teacher: NetworkCost | None
    stages: tuple[StageCost, ...]


def cost_of(run: Run) -> RunCost:
    """The cost of a finished run.

    Args:
        run: that is finished.
    """
    teacher = run.summary.get("teacher")
    return RunCost(
        student=_network(run.summary["student"]),
        teacher=None if teacher is None else _network(teacher),
        stages=tuple(_stage(run, about) for about in run.stages),
    )


def _network(about: Mapping[str, Any]) -> NetworkCost:
    latency = about.get("latency_milliseconds") or {}
    return NetworkCost(about["model"], about["parameters"], about["macs"], dict(latency))


def _stage(run: Run, about: Mapping[str, Any]) -> StageCost:
    measured = about.get("cost") or {}
    lines = [line for line in run.metrics if line["stage"] == about["index"]]
    return StageCost(
        seconds=round(sum(float(line.get("seconds", 0.0)) for line in lines), 3),
        stored=bool(about.get("stored")),
        milliseconds=dict(measured.get("milliseconds", {})),
        step_milliseconds=measured.get("step_milliseconds"),
        images_per_second=measured.get("images_per_second"),
        peak_memory_bytes=measured.get("peak_memory_bytes"),
    )
