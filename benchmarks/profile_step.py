"""Profiles steps of ``smskd train`` and writes PROFILE.md: the longest kernels, and the limits of the device."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from smskd.bench.case import Case, random_dataset
from smskd.bench.step import TimedLoop, built
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.models import macs
from smskd.objective.weighted_sum import WeightedSum
from smskd.runs.atomic_files import write_text
from smskd.training.compute_policy import fitting_threads
from smskd.training.epoch import train_batches
from smskd.training.host import environment

PAGE = Path(__file__).parent / "PROFILE.md"

KERNELS = 20
"""Rows of the table of kernels."""

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SIDES = {"cuda": 8192}
_SIDE = 1024
"""Rows of the square matrices whose product measures the device, by type of device and elsewhere."""

_TRIES = 10


@dataclass(frozen=True)
class Kernel:
    """The work of the device under one name, per step."""

    name: str
    calls: float
    milliseconds: float


@dataclass(frozen=True)
class Profile:
    """The profile of a step.

    Attributes:
        milliseconds: duration without the profiler.
        parts: duration of each part, milliseconds.
        kernels: the longest first.
        gflop: floating-point operations of the convolutions and linear layers, in 10^9.
        gflop_per_second: speed of a large matrix product in this precision.
        gigabytes_per_second: reads and writes of a large copy.
    """

    milliseconds: float
    parts: dict[str, float]
    kernels: list[Kernel]
    gflop: float
    gflop_per_second: float
    gigabytes_per_second: float

    @property
    def busy(self) -> float:
        """Milliseconds in which the device executes kernels."""
        return sum(kernel.milliseconds for kernel in self.kernels)


def main(arguments: Sequence[str] | None = None) -> None:
    """Profiles a case and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="The other options are those of smskd bench step.")
    parser.add_argument("--out", type=Path, default=PAGE, help="the file (default: PROFILE.md beside this one)")
    given = {"teacher": "resnet32x4", "student": "resnet8x4", "method": "kd"}
    for field in fields(Case):
        default: Any = given.get(field.name, field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(default), default=default)
    options = vars(parser.parse_args(arguments))
    out = options.pop("out")
    try:
        case = Case(**options)
        measured, where = profiled(case)
    except UserError as error:
        parser.error(str(error))
    write_text(out, page(case, measured, where, date.today()))
    print(out)


def profiled(case: Case) -> tuple[Profile, dict[str, Any]]:
    """The profile of a case, and the environment.

    Raises:
        UserError: the case cannot be built.
    """
    config = built(case, random_dataset(case))
    device = config.device
    loop = TimedLoop(config)
    turns = [loop.group, *loop.turns(case.steps)]
    if case.cache != "off":
        loop.fill_cache([*turns, turns[-1]])
    loop.turn(turns[0])
    loop.step.clock.reset()
    for steps in turns[1:]:
        loop.turn(steps)
    cost = loop.step.clock.cost()
    assert cost is not None
    kernels = _kernels(loop, turns[-1])
    gflop = _gflop(loop, case.batch_size)
    limits = _limits(device, _TYPES[case.precision])
    return Profile(cost.step_milliseconds, cost.milliseconds, kernels, gflop, *limits), environment(
        device, tf32=config.recipe.runtime.tf32
    )


def page(case: Case, measured: Profile, where: dict[str, Any], day: date) -> str:
    """The page, in Markdown."""
    device = where["device_name"] or f"{where['processor']}, {where['threads']} threads"
    step, busy = measured.milliseconds, measured.busy
    arithmetic = 1000 * measured.gflop / measured.gflop_per_second
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in measured.parts.items() if value)
    precision = "TF32" if where["tf32"] and where["device_name"] and case.precision == "fp32" else case.precision
    return "\n".join(
        [
            "# Profile of a step",
            "",
            f"Measured on {day.isoformat()} by `python benchmarks/profile_step.py`: {device}; "
            f"Python {where['python']}, PyTorch {where['torch']}.",
            "",
            f"{case.teacher} → {case.student}, {case.method}, stage {case.stage}, batches of {case.batch_size} "
            f"images of {case.image_size}x{case.image_size}, cache {case.cache}, {precision}, "
            f"compile {case.compile}.",
            "",
            f"- A step takes **{step:.2f} ms**, {case.batch_size / step * 1000:,.0f} images a second. "
            f"By part, in milliseconds: {parts}.",
            f"- The device executes kernels in {busy:.2f} ms of them, {100 * min(1.0, busy / step):.0f} %.",
            f"- Convolutions and linear layers: {measured.gflop:.1f} GFLOP per step (forward of all networks in full; "
            f"the student's backward counted as two). A large matrix product reaches "
            f"{measured.gflop_per_second / 1000:.2f} TFLOP/s here; at that speed they would take {arithmetic:.2f} ms, "
            f"{100 * arithmetic / step:.0f} % of the step.",
            f"- Copying reaches {measured.gigabytes_per_second:.0f} GB/s: in the duration of a step, "
            f"{measured.gigabytes_per_second * step:.0f} MB can be read and written.",
            "",
            f"The {min(KERNELS, len(measured.kernels))} longest of {len(measured.kernels)} kernels:",
            "",
            "| ms per step | share | calls | kernel |",
            "| ---: | ---: | ---: | --- |",
            *(
                f"| {kernel.milliseconds:.3f} | {100 * kernel.milliseconds / busy:.1f} % | {kernel.calls:.1f} | "
                f"`{kernel.name.replace('|', '/')[:100]}` |"
                for kernel in measured.kernels[:KERNELS]
            ),
            "",
        ]
    )


def _gflop(loop: TimedLoop, batch_size: int) -> float:
    """The floating-point operations of a step, in 10^9; a cached teacher counts for nothing."""
    objective, shape = loop.state.objective, loop.config.input_form
    assert isinstance(objective, WeightedSum)
    frozen = [objective.parts.reference, None if objective.frozen.cached else objective.parts.teacher]
    forwards = [macs(network.model, shape) for network in frozen if network is not None]
    return 2e-9 * batch_size * (3 * macs(objective.student, shape) + sum(forwards))


def _kernels(loop: TimedLoop, steps: int) -> list[Kernel]:
    """The work of the device in some steps, after the warm-up of a turn."""
    cuda = loop.step.device.type == "cuda"
    profiler = profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])])
    batches = islice(loop.batches, loop.warm_up + steps)
    with fitting_threads(loop.config):
        train_batches(loop.step, _profiled(batches, loop.warm_up, profiler, cuda))
    found: dict[str, tuple[int, float]] = {}
    for event in profiler.events() or ():  # type: ignore[no-untyped-call]
        if (event.device_type.name == "CUDA") == cuda:
            calls, spent = found.get(event.name, (0, 0.0))
            found[event.name] = calls + 1, spent + (event.device_time if cuda else event.self_cpu_time_total)
    kernels = [Kernel(name, calls / steps, spent / steps / 1000) for name, (calls, spent) in found.items()]
    return sorted(kernels, key=lambda kernel: -kernel.milliseconds)


def _profiled(batches: Iterable[Batch], warm_up: int, profiler: profile, cuda: bool) -> Iterator[Batch]:
    """The batches; the profiler runs from the end of the warm-up to the end of the last step."""
    for number, batch in enumerate(batches):
        if number == warm_up:
            if cuda:
                torch.cuda.synchronize()
            profiler.start()
        yield batch
    if cuda:
        torch.cuda.synchronize()
    profiler.stop()


def _limits(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """The speed of a large matrix product, GFLOP/s, and of a large copy, GB/s."""
    side = _SIDES.get(device.type, _SIDE)
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    target = torch.empty_like(matrix)
    product = Timer("mm(a, a, out=b)", globals={"mm": torch.mm, "a": matrix, "b": target}).timeit(_TRIES).median
    copy = Timer("b.copy_(a)", globals={"a": matrix, "b": target}).timeit(_TRIES).median
    return 2e-9 * side**3 / product, 2e-9 * matrix.nbytes / copy


if __name__ == "__main__":
    main()
