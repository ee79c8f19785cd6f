"""Runs a method on a golden file and compares all results that the file expects.

A golden file holds inputs, parameters, and the results of published code for them. A :class:`Spec` describes how the
files of a method are read; for most methods it only maps the names of the hyper-parameters.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.features import ModelInfo, TappedOutputs
from smskd.interfaces.terms import DataInfo, Method, TermInputs
from smskd.registry import METHODS

BOOKKEEPING = ("num_batches_tracked", "_extra_state")
"""State that published code does not have, or that does not influence a loss."""


@dataclass(frozen=True)
class GoldenFile:
    """One file, read."""

    path: Path

    @cached_property
    def _content(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        with safe_open(self.path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118

    @property
    def tensors(self) -> dict[str, Tensor]:
        return self._content[0]

    @property
    def metadata(self) -> dict[str, str]:
        return self._content[1]

    @property
    def method(self) -> str:
        return self.metadata["method"]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return dict(json.loads(self.metadata["hyperparameters"]))

    @property
    def rtol(self) -> float:
        return float(self.metadata["rtol"])

    @property
    def dtype(self) -> torch.dtype:
        return {"float64": torch.float64, "float32": torch.float32}[self.metadata["dtype"]]

    def under(self, prefix: str, suffix: str = "") -> dict[str, Tensor]:
        """The tensors named prefix + rest + suffix, by the rest."""
        return {
            name[len(prefix) : len(name) - len(suffix)]: tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix) and name.endswith(suffix)
        }

    def features(self, role: str) -> tuple[Tensor, ...]:
        by_number = self.under(f"{role}.feature.")
        return tuple(by_number[str(number)] for number in range(len(by_number)))

    @property
    def samples(self) -> int:
        """The batch size."""
        names = (name for name in self.tensors if name.startswith(("teacher.logits", "teacher.feature.")))
        return len(self.tensors[next(names)])


@dataclass
class Result:
    """The results of the method for the file's inputs."""

    loss: Tensor
    parts: Mapping[str, Tensor]
    state: nn.Module
    inputs: Mapping[str, Tensor]
    """The student's tensors, by the name in the file."""
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """How the golden files of a method are read.

    Attributes:
        fields: a hyper-parameter's name in the file, and the method's field.
        constants: hyper-parameters of the file that are not a field, and the constant of the method.
        read_elsewhere: hyper-parameters of the file that its tensors determine too.
        further_fields: fields that follow from the file otherwise.
        weights: the file's names of the weights of the cross-entropy and of the method, where the expected loss is
            that of an objective.
        part_scale: divisors of the method's parts before they are compared, by the part's name.
        absent: parameters that the method has and the files do not.
        cancelled: parameters whose gradient is zero up to rounding in train mode (a bias before a batch norm), also
            where the metadata of a file does not list them.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    read_elsewhere: frozenset[str] = frozenset()
    further_fields: Callable[[GoldenFile], dict[str, Any]] = lambda file: {}
    weights: tuple[str, str] | None = None
    part_scale: Callable[[Method], Mapping[str, float]] = lambda method: {}
    absent: frozenset[str] = frozenset()
    cancelled: frozenset[str] = frozenset()

    def make_method(self, file: GoldenFile) -> Method:
        chosen: dict[str, Any] = self.further_fields(file)
        for name, value in file.hyperparameters.items():
            if name in self.fields:
                chosen[self.fields[name]] = value
            elif name in self.constants:
                assert value == self.constants[name], f"the file's {name} is {value}"
            else:
                known = self.read_elsewhere | set(self.weights or ())
                assert name in known, f"hyper-parameter {name} of {file.path.name} is not in the table"
        return METHODS.find(file.method)(**chosen)

    def models(self, file: GoldenFile) -> tuple[ModelInfo, ModelInfo]:
        logits = file.tensors.get("teacher.logits")
        classes = 10 if logits is None else logits.shape[1]
        student, teacher = (
            ModelInfo(tuple(tuple(feature.shape[1:]) for feature in file.features(role)), classes)
            for role in ("student", "teacher")
        )
        return student, teacher

    def data(self, file: GoldenFile) -> DataInfo:
        return DataInfo(samples=file.samples, classes=10, batch_size=file.samples)

    def batch(self, file: GoldenFile) -> Batch:
        y = file.tensors.get("labels", torch.zeros(file.samples, dtype=torch.int64))
        return Batch(torch.empty(file.samples, 0), y, file.tensors.get("index"), Progress())

    def output(self, role: str, tensors: Mapping[str, Tensor]) -> TappedOutputs:
        features = [name for name in tensors if name.startswith(f"{role}.feature.")]
        features.sort(key=lambda name: int(name.rsplit(".", 1)[1]))
        logits = tensors.get(f"{role}.logits", torch.empty(0))
        return TappedOutputs(logits, tuple(tensors[name] for name in features))

    def prepare(self, state: nn.Module, file: GoldenFile) -> None:
        """Loads the file's parameters and memories under their names, and sets the mode."""
        given = file.under("param.") | file.under("state.", ".before")
        state.to(file.dtype)
        own = {name for name in state.state_dict() if not name.endswith(BOOKKEEPING)}
        assert own - self.absent == given.keys(), "the state's names are not the file's"
        state.load_state_dict(given, strict=False)
        state.train(file.metadata["mode"] != "eval")

    def evaluate(self, file: GoldenFile, method: Method, inputs: TermInputs, state: nn.Module) -> Mapping[str, Tensor]:
        """The parts whose means sum to the loss of the file."""
        return method.loss(inputs, state)

    def run(self, file: GoldenFile) -> Result:
        method = self.make_method(file)
        state = method.build(*self.models(file), self.data(file))
        self.prepare(state, file)
        leaves = {
            name: tensor.clone().requires_grad_()
            for name, tensor in file.tensors.items()
            if name.startswith("student.")
        }
        student, teacher = self.output("student", leaves), self.output("teacher", file.tensors)
        inputs = TermInputs(self.batch(file), student, teacher)
        parts = {name: part.mean() for name, part in self.evaluate(file, method, inputs, state).items()}
        loss = torch.stack(list(parts.values())).sum()
        scale = self.part_scale(method)
        compared = {name: part / scale.get(name, 1) for name, part in parts.items()}
        loss = self.objective(file, loss, leaves, compared)
        loss.backward()
        return Result(loss, compared, state, leaves)

    def objective(
        self, file: GoldenFile, loss: Tensor, inputs: Mapping[str, Tensor], compared: dict[str, Tensor]
    ) -> Tensor:
        """The loss that the file expects, from the method's; what else it expects is added to ``compared``."""
        if not (self.weights and self.weights[0] in file.hyperparameters):
            return loss
        ce_weight, weight = (file.hyperparameters[name] for name in self.weights)
        cross_entropy = nn.functional.cross_entropy(inputs["student.logits"], file.tensors["labels"])
        compared["ce"] = cross_entropy
        return ce_weight * cross_entropy + weight * loss


def differences(result: Result, file: GoldenFile, spec: Spec) -> Iterator[str]:
    """A line for each expected tensor that the result lacks, or that differs."""
    zero = json.loads(file.metadata.get("zero_gradients", "[]"))
    if file.metadata["mode"] == "train":
        zero += [f"param.{name}" for name in spec.cancelled if f"expected.grad.param.{name}" in file.tensors]
    for name, expected in file.under("expected.").items():
        if name.removeprefix("grad.") in zero:
            continue
        actual = _find(result, name)
        if actual is None:
            yield f"{name}: missing"
        elif actual.numel() != expected.numel():
            yield f"{name}: {tuple(actual.shape)} instead of {tuple(expected.shape)}"
        else:
            off = float((actual.detach().reshape(expected.shape) - expected).abs().max())
            allowed = file.rtol * float(expected.abs().max())
            if not off <= allowed:
                yield f"{name}: off by {off:.3g}, allowed {allowed:.3g}"
    yield from _not_zero(result, file, zero)


def _not_zero(result: Result, file: GoldenFile, names: Sequence[str]) -> Iterator[str]:
    gradients = [p.grad.abs().max() for p in result.state.parameters() if p.grad is not None]
    for name in names:
        gradient = _find(result, f"grad.{name}")
        if gradient is None:
            yield f"{name}: no gradient, expected one of zero"
        elif not gradient.abs().max() <= file.rtol * max(gradients):
            yield f"{name}: gradient {float(gradient.abs().max()):.3g}, expected zero"


def _find(result: Result, name: str) -> Tensor | None:
    kind, _, rest = name.partition(".")
    match kind:
        case "loss":
            return result.loss
        case "part":
            return result.parts.get(rest)
        case "output":
            return result.outputs.get(rest)
        case "buffer":
            return dict(result.state.named_buffers()).get(rest)
        case "state":
            return dict(result.state.named_buffers()).get(rest.removesuffix(".after"))
        case "grad" if rest.startswith("param."):
            parameter = dict(result.state.named_parameters()).get(rest.removeprefix("param."))
            return None if parameter is None else parameter.grad
        case "grad":
            return result.inputs[rest].grad if rest in result.inputs else None
    return None


def check(file: GoldenFile, specs: Mapping[str, Spec]) -> None:
    """Fails unless the method gives the results of the file; skips where there is no such method."""
    if file.method not in METHODS.names():
        pytest.skip(f"smskd.methods has no {file.method}")
    assert file.method in specs, f"{file.method} is not in the table of golden hyper-parameters"
    torch.manual_seed(0)
    spec = specs[file.method]
    wrong = list(differences(spec.run(file), file, spec))
    assert not wrong, "\n".join(wrong)
