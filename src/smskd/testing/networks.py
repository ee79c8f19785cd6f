"""Small networks of the zoo, random images, and a few steps of training."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.objective import Objective, PretrainingPhase
from smskd.models import create
from smskd.models.frozen import Frozen
from smskd.testing.expect import backward, copies, require, require_finite_parts
from smskd.testing.inputs import CLASSES, LABELS

STUDENT = "resnet8_w2"
TEACHER = "resnet8_w4"
IMAGE_SHAPE = (3, 8, 8)
_LEARNING_RATE = 1e-3
_BATCH = 8


def network(name: str = STUDENT) -> FeatureModel:
    """A network of the zoo with random weights."""
    return create(name, classes=CLASSES, image_size=IMAGE_SHAPE[1:])


def images() -> Tensor:
    """Two batches of random images."""
    return torch.randn(2 * _BATCH, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(5))


def batches(views: frozenset[str] = frozenset()) -> Iterator[Batch]:
    """An epoch of two batches, with the views that are wanted."""
    x = images()
    for index in torch.arange(len(x)).view(-1, _BATCH):
        further = {name: x[index] + 0.1 * place for place, name in enumerate(sorted(views), 1)}
        yield Batch(x[index], LABELS[index], index, views=further)


def train(objective: Objective, where: str) -> None:
    """The phases before the stage, a step each, and an epoch of the stage; all losses are finite."""
    for phase in objective.pretraining_phases():
        _pretrain(phase, next(batches(objective.views)), where)
    objective.train()
    parameters = [parameter for group in objective.parameter_groups() for parameter in group.parameters]
    optimizer = torch.optim.SGD(parameters, lr=_LEARNING_RATE)
    for batch in batches(objective.views):
        losses = objective(batch)
        require_finite_parts(losses.parts, _BATCH, where)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()


def frozen_tensors(networks: Mapping[str, Frozen | None]) -> dict[str, Tensor]:
    """Weights and buffers of frozen networks, and their logits for two images."""
    x = images()[:2]
    tensors: dict[str, Tensor] = {}
    for role, frozen in networks.items():
        if frozen is not None:
            tensors |= {f"{role} {key}": value for key, value in tensors_of(frozen.model).items()}
            tensors[f"{role} logits"] = frozen(x).clone()
    return tensors


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters and buffers of a module."""
    return copies(dict(chain(model.named_parameters(), model.named_buffers())))


def require_no_gradients(networks: Mapping[str, Frozen | None]) -> None:
    """No parameter of the frozen networks has a gradient or requires one."""
    for role, frozen in networks.items():
        named = () if frozen is None else frozen.model.named_parameters()
        touched = [key for key, parameter in named if parameter.grad is not None or parameter.requires_grad]
        require(not touched, f"a gradient reaches the {role}: {', '.join(touched)}")


def require_moved(model: nn.Module, before: Mapping[str, Tensor], message: str) -> None:
    """At least one tensor of the model has changed."""
    now = tensors_of(model)
    require(any(not torch.equal(now[key], value) for key, value in before.items()), message)


def _pretrain(phase: PretrainingPhase, batch: Batch, where: str) -> None:
    parameters = _parameters(phase.modules)
    wanted_gradient = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
        parameter.grad = None
    parts = phase.loss(batch)
    require_finite_parts(parts, _BATCH, f"{where}, phase before the stage")
    backward(parts)
    torch.optim.SGD(parameters, lr=_LEARNING_RATE).step()
    for parameter, wanted in zip(parameters, wanted_gradient, strict=True):
        parameter.requires_grad_(wanted)
        parameter.grad = None


def _parameters(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return list(nn.ModuleList(modules).parameters())
