"""Padding never enters a loss: with more of it, every loss of every method that takes texts stays the same."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from smskd.anchors.reference_kl import ReferenceKL
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Roles
from smskd.interfaces.terms import DataInfo
from smskd.methods.at import AT
from smskd.models.frozen import Frozen
from smskd.objective.build import build_objective
from smskd.ops.pairing import paired_layer_names
from smskd.registry import METHODS
from tests.support import texts

REFUSED = {"ab", "fsp", "ft", "kdsvd", "mlkd", "ofd", "reviewkd", "semckd", "simkd", "vid"}
"""They compare feature maps, or a second view of an image."""

TAKEN = sorted({*METHODS.builtin_names()} - REFUSED)


def batch() -> Batch:
    train = texts.dataset().train
    rows = torch.arange(10)
    return Batch(train.batch(rows), train.known_labels()[rows], rows)


def with_more_padding(some: Batch, count: int = 5) -> Batch:
    """The tokens behind it are no padding tokens, so that a loss that reads them changes."""
    fill = {"attention_mask": 0}
    return replace(some, x={name: F.pad(value, (0, count), value=fill.get(name, 1)) for name, value in some.x.items()})


def losses(method: str, some: Batch) -> dict[str, torch.Tensor]:
    student, teacher = texts.network("student"), texts.network("teacher")
    info = DataInfo(texts.TRAIN, texts.CLASSES, 10, texts.dataset().train.known_labels())
    torch.manual_seed(3)
    objective = build_objective(
        student,
        teacher,
        # Behind a layer norm the squares of all tokens have nearly the same mean.
        methods=[AT(power=3) if method == "at" else method],
        example=texts.dataset().train.example(),
        data=info,
        anchor=ReferenceKL(),
        reference=Frozen(texts.network("student", seed=2), texts.dataset().train.example()),
    ).eval()
    torch.manual_seed(5)
    found = objective(some)
    found.total.backward()
    gradients = {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}
    assert gradients
    return {**{name: part.detach() for name, part in found.parts.items()}, **gradients}


@pytest.mark.parametrize("method", TAKEN)
def test_more_padding_changes_neither_losses_nor_gradients(method):
    some = batch()
    assert not bool(some.token_mask.all())
    before, after = losses(method, some), losses(method, with_more_padding(some))
    for name, value in before.items():
        difference = float((value - after[name]).abs().max())
        assert difference <= 1e-3 * float(value.abs().max()) + 3e-5, name


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_others_are_refused_in_a_line(method):
    with pytest.raises(UserError) as caught:
        losses(method, batch())
    assert "\n" not in str(caught.value)
    assert method in str(caught.value) or "strong" in str(caught.value)


def test_the_layers_of_the_deeper_network_are_evenly_spaced():
    def layout(layers: int) -> FeatureLayout:
        names = tuple(f"block{number}" for number in range(1, layers + 1))
        return FeatureLayout(dict.fromkeys(names, (7, 4)), 2, roles=Roles(layers=names))

    assert paired_layer_names(layout(3), layout(12), "FitNet") == (
        ("block1", "block2", "block3"),
        ("block4", "block8", "block12"),
    )
    assert paired_layer_names(layout(5), layout(2), "AT")[0] == ("block2", "block5")
    with pytest.raises(UserError, match="the teacher has none of the same tokens"):
        paired_layer_names(layout(2), FeatureLayout({"pooled": (3,)}, 2, roles=Roles(pooled="pooled")), "AT")
