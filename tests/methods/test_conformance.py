"""What every method keeps to, whichever it is."""

import copy
import dataclasses
import io
from typing import get_args

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from smskd.methods import discovery
from smskd.types import Kind, Method

from .example import STUDENT, batch, build, detached, leaves, output, taps, teacher_for

NAMES = discovery.names()
IN_THE_STAGE = {"ab": {"main_stage": True}, "fsp": {"main_stage": True}}
"""Methods whose loss is 0 in the stage unless they are told otherwise."""


@pytest.fixture(params=NAMES)
def method(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(0)
    return discovery.find(request.param)(**IN_THE_STAGE.get(request.param, {}))


def _losses(method: Method, state: torch.nn.Module, autocast: bool = False) -> tuple[dict[str, Tensor], list[Tensor]]:
    chosen = taps(method)
    student = output(STUDENT, chosen.student, samples=8)
    teacher = detached(output(teacher_for(method), chosen.teacher, samples=8))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        parts = method.loss(student, teacher, batch(torch.arange(8)), state)
    return parts, leaves(student)


def test_it_is_a_frozen_dataclass_with_a_default_for_every_field(method: Method) -> None:
    assert dataclasses.is_dataclass(method)
    assert type(method).__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert type(method)() == type(method)()


def test_it_says_its_kind_and_published_weights(method: Method) -> None:
    assert method.kind in get_args(Kind)
    assert method.published_weight > 0
    assert method.published_class_weight > 0


def test_its_taps_are_features_that_the_models_have(method: Method) -> None:
    chosen = taps(method)
    assert chosen.student
    assert chosen.teacher
    for names, layout in ((chosen.student, STUDENT), (chosen.teacher, teacher_for(method))):
        assert {name.partition("@")[0].removesuffix(".preact") for name in names} <= {*layout.features, "logits"}


def test_its_loss_has_scalar_parts_and_reaches_the_student(method: Method) -> None:
    parts, inputs = _losses(method, build(method))
    assert parts
    assert all(part.shape == () and torch.isfinite(part) for part in parts.values())
    torch.stack(list(parts.values())).sum().backward()
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in inputs)
    assert any(x.grad is not None and x.grad.abs().max() > 0 for x in inputs)


def test_everything_it_trains_gets_a_gradient(method: Method) -> None:
    state = build(method)
    parts, _ = _losses(method, state)
    torch.stack(list(parts.values())).sum().backward()
    trained = [name for name, parameter in state.named_parameters() if parameter.requires_grad]
    assert [name for name in trained if state.get_parameter(name).grad is None] == []


def test_it_is_finite_and_in_float32_under_autocast(method: Method) -> None:
    parts, inputs = _losses(method, build(method), autocast=True)
    assert all(part.dtype == torch.float32 and torch.isfinite(part) for part in parts.values())
    torch.stack(list(parts.values())).sum().backward()
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in inputs)


def test_autocast_changes_the_loss_by_no_more_than_sixteen_bits_do(method: Method) -> None:
    losses = []
    for autocast in (False, True):
        torch.manual_seed(0)
        parts, _ = _losses(method, build(method), autocast)
        losses.append(float(sum(parts.values()).detach()))  # type: ignore[union-attr]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_its_state_is_tensors_that_round_trip_through_safetensors(method: Method) -> None:
    state = build(method)
    _losses(method, state)
    saved = load(save({name: tensor.contiguous() for name, tensor in state.state_dict().items()}))
    other = build(method)
    other.load_state_dict(saved)
    results = []
    for module in (state, other):
        torch.manual_seed(7)
        results.append(_losses(method, module)[0])
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_its_state_can_be_copied(method: Method) -> None:
    state = build(method)
    _losses(method, state)
    twin = copy.deepcopy(state)
    torch.manual_seed(3)
    parts, _ = _losses(method, state)
    torch.manual_seed(3)
    of_twin, _ = _losses(method, twin)
    assert all(torch.equal(parts[name], of_twin[name]) for name in parts)


def test_its_state_is_loaded_without_unpickling(method: Method) -> None:
    buffer = io.BytesIO()
    torch.save(build(method).state_dict(), buffer)
    buffer.seek(0)
    assert all(isinstance(value, Tensor) for value in torch.load(buffer, weights_only=True).values())


def test_a_batch_of_one_gives_no_nan(method: Method) -> None:
    state = build(method).eval()
    chosen = taps(method)
    student = output(STUDENT, chosen.student, samples=1)
    teacher = detached(output(teacher_for(method), chosen.teacher, samples=1))
    parts = method.loss(student, teacher, batch(torch.tensor([3])), state)
    torch.stack(list(parts.values())).sum().backward()
    assert all(torch.isfinite(part) for part in parts.values())
    assert all(torch.isfinite(x.grad).all() for x in leaves(student) if x.grad is not None)
