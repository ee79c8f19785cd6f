"""Taps of the architectures, and a short form of the matrix; the whole of it is `make matrix`."""

import pytest
import torch

from smskd.models import adapt
from smskd.models.frozen import Frozen
from tests.support.architectures import ARCHITECTURES, network
from tests.support.matrix_files import PAGE, page, read_results, read_taps
from tests.support.model_matrix import METHOD_NAMES, ROLES, WORKS, outcomes, step, taps

SHORT = ("timm/vit", "transformers/Swin")
"""Architectures of which every method is tried in each run of the tests."""


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_methods_read_what_an_expert_has_read(name: str) -> None:
    assert taps(name) == read_taps()[name]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", SHORT)
def test_a_step_of_every_method(name: str, role: str) -> None:
    assert outcomes(name, role, METHOD_NAMES) == read_results()[name][role]


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("timm/resnet18", "timm/vit"),
        ("timm/vit_registers", "torchvision/resnet18"),
        ("transformers/ViT", "timm/deit_distilled"),
        ("timm/xcit", "timm/cait"),
        ("torchvision/swin", "torchvision/vit"),
    ],
)
def test_hints_with_their_defaults_between_transformers_and_convolutional_networks(student: str, teacher: str) -> None:
    example = torch.zeros(1, 3, 64, 64)
    frozen = Frozen(adapt(network(teacher), example), example, copy=False)
    for method in ("fitnet", "kd"):
        assert step(method, adapt(network(student), example), frozen, 64) == WORKS


def test_the_page_shows_the_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_results())
