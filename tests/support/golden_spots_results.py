"""The results of spot-adaptive distillation by their names in the golden files, and how they are compared."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from smskd.objective.spots.objective import SpotAdaptiveObjective
from smskd.objective.spots.policy import Decisions
from tests.support.golden import GoldenFile
from tests.support.golden_spots import own_name


def losses(parts: Mapping[str, Tensor], file: GoldenFile) -> dict[str, Tensor]:
    """``ce``, ``div`` with its weight and ``kd`` without."""
    name = file.metadata["distiller"]
    own = [value for part, value in parts.items() if name != "kd" and part.partition(".")[0] == name]
    found = {"part.ce": parts["ce"], "part.div": parts["kd"]}
    return {**found, "part.kd": sum(own, torch.zeros(())) / file.hyperparameters["other_kd"]} if own else found


def ungated(
    made: SpotAdaptiveObjective,
    own: Any,
    student: Any,
    decisions: Decisions,
    parts: Mapping[str, Tensor],
    file: GoldenFile,
) -> dict[str, Tensor]:
    """The method's loss at each spot on the chosen samples, not multiplied by their share; 0 where there are none."""
    chosen = ~decisions.chosen if made.settings.decisions == "reversed" else decisions.chosen
    term, name = made.gated[0], file.metadata["distiller"]
    losses = [value / term.bound.weight for part, value in parts.items() if part.partition(".")[0] == name]
    if len(term.decisions) == 1 and losses:
        losses = [torch.stack(losses).sum()]
    shares = [chosen[:, number].to(file.dtype).mean() for number in term.decisions]
    pairs = enumerate(zip(losses, shares, strict=False))
    found = {f"part.kd_ungated.{spot}": loss / share if share else loss for spot, (loss, share) in pairs}
    if "expected.part.kd_whole_batch" in file.tensors:
        inputs = term.bound.inputs(own, student, None)
        everything = term.weighted_losses(inputs, torch.ones_like(chosen))
        found["part.kd_whole_batch"] = everything[name] / term.bound.weight
    return found


def of_modules(made: SpotAdaptiveObjective, file: GoldenFile) -> dict[str, Tensor]:
    """Gradients, their norms and statistics, by the names in the file."""
    parameters, buffers = dict(made.named_parameters(remove_duplicate=False)), made.state_dict()
    found = {}
    for name in file.under("expected.grad.param."):
        found[f"grad.param.{name}"] = gradient(parameters[own_name(name)])
    for name in file.under("expected.grad_norm.param."):
        found[f"grad_norm.param.{name}"] = gradient(parameters[own_name(name)]).norm()
    for name in file.under("expected.buffer."):
        found[f"buffer.{name}"] = buffers[own_name(name)].clone()
    for name in json.loads(file.metadata.get("zero_gradients", "[]")):
        found[f"grad.{name}"] = gradient(parameters[own_name(name.removeprefix("param."))])
    if file.metadata["distiller"] == "cc" and made.learns:
        assert parameters["_states.0.embed_teacher.weight"].grad is None
    return found


def memories(made: SpotAdaptiveObjective, file: GoldenFile) -> dict[str, Tensor]:
    if file.metadata["distiller"] != "crd":
        return {}
    memory: Any = made.methods[0].state
    return {
        "state.memory_v1.after": memory.memory_student,
        "state.memory_v2.after": memory.memory_teacher,
        "state.normaliser.after": torch.stack([memory.z_student, memory.z_teacher]),
    }


def factors(file: GoldenFile) -> tuple[float, ...]:
    gamma = file.hyperparameters["classify_weight"]
    return gamma, 1 / gamma, 1.0


def gradient(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad


def differences(found: Mapping[str, Tensor], file: GoldenFile) -> Iterator[str]:
    largest = max(
        (float(value.abs().max()) for name, value in found.items() if name.startswith("grad.param")), default=0
    )
    for name in json.loads(file.metadata.get("zero_gradients", "[]")):
        if f"grad.{name}" in found and float(found[f"grad.{name}"].abs().max()) > file.rtol * largest:
            yield f"grad.{name}: not zero"
    for name, expected in file.under("expected.").items():
        if name not in found:
            yield f"{name}: missing"
            continue
        value = found[name].detach()
        if value.numel() != expected.numel():
            yield f"{name}: {tuple(value.shape)} instead of {tuple(expected.shape)}"
            continue
        off = float((value.reshape(expected.shape) - expected).abs().max())
        allowed = 0.0 if name.startswith("decision") else file.rtol * float(expected.abs().max())
        if not off <= allowed:
            yield f"{name}: off by {off:.3g}, allowed {allowed:.3g}"
