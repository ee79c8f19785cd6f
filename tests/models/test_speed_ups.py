"""Whatever computes the features of a changed network faster gives the same ones, or leaves it out with a note.

The networks are pruned, normalised, parametrized or quantized; each is tried as teacher (folded, in channels-last
format, compiled) and as student (compiled).
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from smskd.interfaces.batch import Batch
from smskd.models import adapt, compiled, compiled_frozen
from smskd.models.compiled import CompiledStudent
from smskd.models.copying import copy_of
from smskd.models.frozen import Frozen
from smskd.objective.build import build_objective
from tests.support.networks import CLASSES, EXAMPLE, images, state_of

NAMES = ("stage1", "pooled", "logits")
Change = Callable[[nn.Module], nn.Module]


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def pruned(layer: nn.Module) -> nn.Module:
    made: nn.Module = prune.l1_unstructured(layer, "weight", 0.2)
    return made


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = nn.utils.weight_norm(layer)
    return made


def parametrized(layer: nn.Module) -> nn.Module:
    return parametrize.register_parametrization(layer, "weight", Halved())


CHANGES: dict[str, Change] = {
    "plain": lambda layer: layer,
    "pruned": pruned,
    "old weight norm": old_weight_norm,
    "weight norm": parametrizations.weight_norm,
    "old spectral norm": nn.utils.spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
    "parametrized": parametrized,
}


def network(change: Change, *, statistics: bool = True) -> nn.Sequential:
    """A convolution and the last layer are changed."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        change(nn.Conv2d(4, 8, 3, stride=2, padding=1)),
        nn.BatchNorm2d(8, track_running_stats=statistics),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        change(nn.Linear(8, CLASSES)),
    )
    for _ in range(3):
        net(images(20))
    return net


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda change=change: network(change) for name, change in CHANGES.items()},
    "no running statistics": lambda: network(CHANGES["plain"], statistics=False),
}


def untouched(graph: Any, images: Tensor) -> Any:
    """The traced graph in place of a compiled one, which takes seconds."""
    return graph


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = torch.ao.quantization.quantize_dynamic(network(CHANGES["plain"]).eval(), {nn.Linear})
    return made


@pytest.mark.parametrize("name", [*NETWORKS, "dynamically quantized"])
def test_as_teacher(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_frozen, "_compile", untouched)
    net = (NETWORKS.get(name) or quantized)().eval()
    x = images().contiguous(memory_format=torch.channels_last)
    model = adapt(net, EXAMPLE)
    read = [feature for feature in NAMES if feature in (*model.feature_names, "logits")]
    with torch.no_grad():
        expected = copy_of(model).extract(images(), read)
    teacher = Frozen(model, EXAMPLE)
    for compiles in (False, True):
        teacher.compiles = compiles
        for _ in range(2):
            torch.testing.assert_close(teacher.extract(x, read), expected, rtol=1e-4, atol=1e-5)
    assert teacher.compiled or any("It is not compiled" in note for note in teacher.notes)


@pytest.mark.parametrize("name", NETWORKS)
def test_as_student(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    plain = adapt(NETWORKS[name]().train(), EXAMPLE)
    other = adapt(NETWORKS[name]().train(), EXAMPLE)
    fast = CompiledStudent(other)
    for _ in range(2):
        x = images()
        expected, found = plain.extract(x, NAMES), fast.extract(x, NAMES)
        torch.testing.assert_close(found, expected)
        for model, features in ((plain, expected), (other, found)):
            model.zero_grad()
            torch.stack([value.square().mean() for value in features.values()]).sum().backward()
        for one, two in zip(plain.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad)
    torch.testing.assert_close(state_of(other), state_of(plain))
    assert fast.compiled or fast.notes


def test_a_student_whose_features_are_read_by_hooks_runs_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    fast = CompiledStudent(adapt(NETWORKS["plain"]().train(), EXAMPLE))
    assert fast.extract(images(), NAMES).keys() == set(NAMES)
    assert not fast.compiled
    assert fast.notes == [
        "It is not compiled: features are read by hooks on its modules, which the compiler does not follow."
    ]
    fast.extract(images(), ("logits",))
    assert fast.compiled, "its logits need no hooks"


def test_features_are_read_by_hooks_within_distributed_data_parallel(tmp_path: Path) -> None:
    alone, wrapped = (
        build_objective(NETWORKS["plain"](), NETWORKS["pruned"](), methods=["at"], example=EXAMPLE) for _ in "12"
    )
    wrapped.load_state_dict(alone.state_dict())
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(wrapped, find_unused_parameters=True)
        batch = Batch(images(), torch.arange(6))
        for objective in (alone, parallel):
            objective(batch).total.backward()
    finally:
        torch.distributed.destroy_process_group()
    for one, two in zip(alone.parameters(), wrapped.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    assert alone.predictor.module[0].weight.grad.any()
