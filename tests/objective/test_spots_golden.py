"""Spot-adaptive distillation against what published code computed: policy, gates, whole steps and training.

``SMSKD_GOLDEN`` names a folder with ``sakd/*.safetensors``; by default it is ``tests/golden``.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from smskd.config.optimization import OptimizerConfig
from smskd.interfaces.features import LOGITS, Tap
from smskd.objective.spots.grafting import Grafted
from smskd.objective.spots.objective import SpotAdaptiveObjective
from smskd.objective.spots.policy import TEACHER_BIAS, Decisions, Policy, decide, gumbel_noise
from smskd.ops.spot_regressor import MapRegressor
from smskd.training.optimizer import build_optimizer
from tests.support.golden import GoldenFile
from tests.support.golden_spots import batch, given_networks, networks, objective, own_name, with_outputs
from tests.support.golden_spots_results import differences, factors, gradient, losses, memories, of_modules, ungated

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = Path(os.environ.get("SMSKD_GOLDEN", GOLDEN)) / "sakd"
FILES = sorted(FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    file = GoldenFile(path)
    torch.manual_seed(0)
    results = {"policy": policy, "regressor": regressor, "gate": gate, "step": step, "train": train}
    found = results[file.metadata["builder"]](file)
    wrong = list(differences(found, file))
    assert not wrong, "\n".join(wrong)


def test_there_are_files() -> None:
    assert FILES or not FOLDER.is_dir()


def policy(file: GoldenFile) -> dict[str, Tensor]:
    given = file.tensors
    bias = TEACHER_BIAS if file.hyperparameters["homogeneous"] else 0.0
    teacher, student = given["teacher.pooled"], given["student.pooled"]
    made = Policy(teacher.shape[1], student.shape[1], given["weight"].shape[1]).to(file.dtype)
    made.net.weight.data.copy_(given["param.policy.net.weight"])
    made.net.bias.data.copy_(given["param.policy.net.bias"])
    made.net.bias.data[::2] += bias
    logits = made(teacher, student)
    logits.retain_grad()
    noise = gumbel_noise(given["gumbel.uniform"])
    decisions = decide(logits, noise)
    loss = (given["weight"] * decisions.taken).sum()
    loss.backward()
    return {
        "policy.logits": logits.flatten(1),
        "policy.noise": noise,
        "policy.soft": decisions.soft,
        "decision": decisions.taken,
        "output.bias_homogeneous": made.net.bias,
        "loss": loss,
        "grad.policy.logits": gradient(logits).flatten(1),
        "grad.param.policy.net.weight": gradient(made.net.weight),
        "grad.param.policy.net.bias": gradient(made.net.bias),
    }


def regressor(file: GoldenFile) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    total = torch.zeros((), dtype=file.dtype)
    made = {}
    for name, value in file.under("input.").items():
        x = value.clone().requires_grad_()
        layer = MapRegressor(tuple(x.shape[1:]), tuple(file.tensors[f"weight.{name}"].shape[1:])).to(file.dtype)
        layer.load_state_dict(file.under(f"param.{name}."), strict=False)
        output = layer(x)
        total = total + (file.tensors[f"weight.{name}"] * output).sum()
        found[f"output.{name}"] = output
        made[name] = (x, layer)
    total.backward()
    for name, (x, layer) in made.items():
        found[f"grad.input.{name}"] = gradient(x)
        found |= {f"grad.param.{name}.{key}": gradient(value) for key, value in layer.named_parameters()}
        found |= {f"buffer.{name}.{key}": value for key, value in layer.named_buffers()}
    return {**found, "loss": total}


def gate(file: GoldenFile) -> dict[str, Tensor]:
    leaves = {
        name: value.clone().requires_grad_()
        for name, value in file.tensors.items()
        if name.startswith("student.") and name != "student.pooled"
    }
    x = torch.zeros(len(file.tensors["labels"]), 1, 1, 1, dtype=file.dtype)
    made = objective(file, *given_networks(file, leaves), x)
    made.train()
    seen = watch(made, file)
    student = {tap: made.student.extract(x, (tap.name,))[tap.name] for tap in made._student_taps}
    own = with_outputs(made, batch(file, x))
    decisions = made.decide(own, student)
    parts = {"ce": made.parts.ce_weight * F.cross_entropy(student[Tap(LOGITS)], own.y)}
    parts |= made.gated_losses(own, student, decisions.chosen)
    loss = torch.stack(list(parts.values())).sum()
    loss.backward()
    if not made.learns:  # the whole objective is these parts
        assert list(made(own).parts) == list(parts)
    found = {**seen, **losses(parts, file), "loss": loss, "decision": decisions.taken}
    if made.learns:
        found["policy.soft"] = decisions.soft
    found |= {f"grad.{name}": gradient(leaf) for name, leaf in leaves.items()}
    found |= of_modules(made, file) | memories(made, file)
    return found | ungated(made, own, student, decisions, parts, file)


def step(file: GoldenFile) -> dict[str, Tensor]:
    x = file.tensors["x"]
    student, teacher = networks(file)
    watched = Watched(student)
    made = objective(file, student, teacher, x, extractor=watched)
    made.train()
    seen = watch(made, file)
    result = made(batch(file, x))
    for part in ("taken", "logits"):
        seen[part].retain_grad()
    result.total.backward()
    agent = result.parts["policy.graft"] + result.parts["policy.half"]
    factor = result.parts["policy.graft"] / seen["part.graft_ce"]
    assert any(torch.isclose(factor, torch.tensor(f, dtype=factor.dtype)) for f in factors(file))
    found = {
        **seen,
        **losses(result.parts, file),
        "loss": result.total - agent,
        "agent_loss": agent,
        "decision": seen["taken"],
        "grad.decision": gradient(seen["taken"]),
        "grad.policy.logits": gradient(seen["logits"]).flatten(1),
        "grad.student.logits": gradient(watched.seen[LOGITS]),
        "student.logits": watched.seen[LOGITS],
        "student.pooled": watched.seen["pooled"],
    }
    own = with_outputs(made, batch(file, x))
    assert own.outputs is not None
    found["teacher.logits"] = own.outputs.teacher[Tap(LOGITS)]
    found["teacher.pooled"] = own.outputs.teacher[Tap("pooled")]
    student_outputs = {tap: watched.seen[tap.name].detach() for tap in made._student_taps}
    found |= of_modules(made, file) | memories(made, file)
    decisions = Decisions(seen["policy.soft"], seen["taken"])
    return found | ungated(made, own, student_outputs, decisions, result.parts, file)


def train(file: GoldenFile) -> dict[str, Tensor]:
    student, teacher = networks(file)
    made = objective(file, student, teacher, file.tensors["x.0"])
    hyper = file.hyperparameters
    config = OptimizerConfig(learning_rate=hyper["lr"], momentum=hyper["momentum"], weight_decay=hyper["weight_decay"])
    optimizer = build_optimizer(config, made.parameter_groups())
    found: dict[str, Tensor] = {}
    for number in range(len(file.under("x."))):
        end = f".{number}"
        made.train()
        seen = watch(made, file, end)
        optimizer.zero_grad(set_to_none=True)
        result = made(batch(file, file.tensors[f"x{end}"], end))
        result.total.backward()
        optimizer.step()
        agent = result.parts["policy.graft"] + result.parts["policy.half"]
        now = {**seen, **losses(result.parts, file), "loss": result.total - agent, "agent_loss": agent}
        now["decision"] = seen["taken"]
        found |= {f"{name}{end}": value.detach() for name, value in now.items()}
    state = made.state_dict()
    for name in file.under("expected.after."):
        found[f"after.{name}"] = state[own_name(name)]
    return found


class Watched:
    """A student that keeps what was read of it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.seen: dict[str, Tensor] = {}

    def extract(self, x: Tensor, names: Any) -> dict[str, Tensor]:
        self.seen = self.model.extract(x, {*names, "pooled"})
        self.seen[LOGITS].retain_grad()
        return self.seen


def watch(made: SpotAdaptiveObjective, file: GoldenFile, end: str = "") -> dict[str, Any]:
    """Draws the file's numbers, and notes what the policy and the grafted pass give."""
    seen: dict[str, Any] = {}
    made.uniform = lambda shape, dtype: drawn(file.tensors[f"gumbel.uniform{end}"], shape)  # type: ignore[method-assign]
    made.normal = lambda shape, dtype: drawn(file.tensors["random.normal"], shape)  # type: ignore[method-assign]
    if not made.learns:
        return seen
    decide_, graft_ = type(made).decide, type(made).graft
    noise = gumbel_noise(file.tensors[f"gumbel.uniform{end}"])

    def note_logits(_module: Any, _inputs: Any, output: Tensor) -> None:
        seen.update({"logits": output, "policy.logits": output.flatten(1), "policy.noise": noise})

    made.agent["policy"].register_forward_hook(note_logits)

    def decided(*args: Any) -> Decisions:
        result = decide_(made, *args)
        seen.update({"policy.soft": result.soft, "taken": result.taken})
        return result

    def grafted(own: Any, decisions: Decisions) -> Grafted:
        result = graft_(made, own, decisions)
        seen["part.graft_ce"] = F.cross_entropy(result.logits, own.y)
        seen["graft.logits"] = result.logits
        seen["graft.student_logits"], seen["graft.teacher_logits"] = result.student_logits, result.teacher_logits
        for number, (v, u) in enumerate(zip(result.to_teacher, result.to_student, strict=True)):
            seen[f"graft.to_teacher.{number}"], seen[f"graft.to_student.{number}"] = v, u
        return result

    made.decide, made.graft = decided, grafted  # type: ignore[method-assign]
    return seen


def drawn(numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    assert numbers.shape == shape
    return numbers
