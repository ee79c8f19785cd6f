"""Methods that compare stages, between families of the zoo: every pair is trained or refused in one line."""

import pytest
import torch

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models import create
from smskd.objective.weighted_sum import Objective
from smskd.registry import METHODS

FAMILIES = ["resnet8", "vgg8", "MobileNetV2", "ShuffleV2"]
CASES = ["ab", "fsp", "ft", "ofd", "reviewkd"]
REFUSED = {
    "ab": "no convolution brings the student's map",
    "fsp": "FSP needs equally many channels in each pair of maps",
}
X, Y = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])


@pytest.fixture(scope="module")
def models() -> dict[str, FeatureModel]:
    torch.manual_seed(0)
    return {name: create(name, classes=5) for name in FAMILIES}


def _objective(name: str, student: FeatureModel, teacher: FeatureModel) -> Objective | str:
    """The objective, or why there is none."""
    method = METHODS.find(name)(**({"main_stage": True} if name in REFUSED else {}))
    try:
        return Objective(student, teacher, methods=[method], example=X)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("teacher", FAMILIES)
@pytest.mark.parametrize("student", FAMILIES)
def test_every_pair_is_trained_or_refused(models: dict[str, FeatureModel], student: str, teacher: str) -> None:
    for name in CASES:
        objective = _objective(name, models[student], models[teacher])
        if isinstance(objective, str):
            assert student != teacher
            assert objective.startswith(f"{name}: {REFUSED[name]}")
            assert "\n" not in objective
            continue
        objective.zero_grad()
        parts = objective((X, Y)).parts
        loss = torch.stack([part for key, part in parts.items() if key.partition(".")[0] == name]).sum()
        loss.backward()
        assert torch.isfinite(loss)
        gradients = [p.grad for p in objective.student.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert any(gradient.abs().max() > 0 for gradient in gradients)
        own = [p for p in objective.states.parameters() if p.requires_grad]
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in own)
