"""Gradients of the parts reach the student and the methods' modules; nothing changes teacher and reference."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from smskd.anchors.reference_kl import ReferenceKL
from smskd.interfaces.terms import WeightedMethod
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from tests.support import tiny
from tests.support.objectives import (
    SINGLE,
    batch,
    name_of,
    next_stage,
    objective,
    reference_of,
    teacher_of,
    train,
    trained,
)


class TestGradient:
    @pytest.mark.parametrize("method", SINGLE, ids=name_of)
    def test_of_a_method_reaches_the_student_and_its_own_modules_alone(self, method: str | WeightedMethod) -> None:
        made = next_stage(objective(["fitnet"]), [method], ReferenceKL())
        made.requires_grad_(True)  # even if somebody asks for more
        item = batch()
        item.x.requires_grad_()
        losses = made(item)
        torch.stack([loss for name, loss in losses.parts.items() if name not in ("ce", "anchor")]).sum().backward()  # type: ignore[no-untyped-call]
        for frozen in (teacher_of(made), reference_of(made)):
            assert all(parameter.grad is None for parameter in frozen.model.parameters())
            assert all(parameter.grad is None for parameter in frozen._running.parameters())
        assert any(
            bool((parameter.grad != 0).any()) for parameter in made.student.parameters() if parameter.grad is not None
        )
        for name, parameter in made.methods[0].state.named_parameters():
            assert parameter.grad is not None, f"{name} is not trained"
            assert name.endswith("conv.bias") or bool((parameter.grad != 0).any()), f"{name} is not trained"

    @pytest.mark.parametrize("part", ["ce", "anchor"])
    def test_of_cross_entropy_and_anchor_reaches_the_student_alone(self, part: str) -> None:
        first = objective(["fitnet"])
        train(first)
        made = next_stage(first, ["fitnet"], ReferenceKL())
        train(made)
        made.zero_grad()
        made(batch()).parts[part].backward()
        assert all(parameter.grad is not None for parameter in made.student.parameters())
        assert all(parameter.grad is None for parameter in made.term_states.parameters())

    def test_the_student_and_the_modules_of_the_methods_are_trained(self) -> None:
        made = next_stage(objective(["fitnet", "vid"]), ["fitnet"], ReferenceKL())
        wanted = [*made.student.parameters(), *made.term_states.parameters()]
        assert {id(parameter) for parameter in trained(made)} == {id(parameter) for parameter in wanted}
        assert len(trained(made)) == len(wanted)
        assert len(list(made.term_states.parameters())) > 0

    def test_frozen_layers_of_the_student_are_left_out(self) -> None:
        learner = tiny.student()
        learner.get_submodule("conv1").requires_grad_(False)
        made = build_objective(learner, example=tiny.EXAMPLE)
        assert len(trained(made)) == len(list(learner.parameters())) - 1


class TestNothingMovesTeacherAndReference:
    @pytest.mark.parametrize("meddling", ["nothing", "train", "every module", "requires grad"])
    def test_bit_by_bit(self, meddling: str) -> None:
        first = objective(["fitnet"])
        train(first)
        made = next_stage(first, ["kd", tiny.SMALL_CRD, "at"], ReferenceKL())
        teacher, reference = tiny.bits(teacher_of(made)), tiny.bits(reference_of(made))
        expected = reference_of(made)(batch().x)
        optimizer = torch.optim.SGD(made.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
        for number in range(2):
            if meddling == "train":
                nn.ModuleList([made]).train()
            if meddling == "every module":
                for module in made.modules():
                    module.train()
            if meddling == "requires grad":
                made.requires_grad_(True)
                optimizer = torch.optim.SGD(made.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
            for item in tiny.loader().epoch(number):
                optimizer.zero_grad()
                made(item).total.backward()
                optimizer.step()
        assert tiny.same(tiny.bits(teacher_of(made)), teacher)
        assert tiny.same(tiny.bits(reference_of(made)), reference)
        assert torch.equal(reference_of(made)(batch().x), expected)

    def test_the_given_teacher_is_copied_and_left_as_it_is(self) -> None:
        source = tiny.teacher()
        before, modes = tiny.bits(source), [module.training for module in source.modules()]
        made = build_objective(tiny.student(), source, methods=["fitnet", "kd"], example=tiny.EXAMPLE)
        train(made)
        assert tiny.same(tiny.bits(source), before)
        assert [module.training for module in source.modules()] == modes
        assert all(parameter.requires_grad for parameter in source.parameters())
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(1)
        assert tiny.same(tiny.bits(teacher_of(made)), before)

    def test_the_reference_is_a_copy_of_the_student_before_the_stage(self) -> None:
        first = objective(["fitnet"])
        train(first)
        before = tiny.bits(first.student)
        made = next_stage(first, ["sp"], ReferenceKL())
        train(made)
        assert tiny.same(tiny.bits(reference_of(made)), before)
        assert not tiny.same(tiny.bits(made.student), before)
        assert not any(isinstance(module, Frozen) for module in made.modules()), "a parent could train it"


def test_a_loop_of_the_users_own_continues_from_the_state(tmp_path: Path) -> None:
    """The objective is saved and loaded as any module; the frozen networks by themselves."""
    first = objective(["fitnet"])
    train(first)
    made = next_stage(first, ["vid"], ReferenceKL())
    train(made)
    save_file(tiny.bits(made), tmp_path / "objective.safetensors")
    again = build_objective(
        tiny.student(7),
        tiny.teacher(),
        methods=["vid"],
        example=tiny.EXAMPLE,
        data=tiny.loader().info,
        anchor=ReferenceKL(),
        reference=reference_of(made),
    )
    again.load_state_dict(load_file(tmp_path / "objective.safetensors"))
    one, other = made(batch()), again(batch())
    assert one.parts.keys() == other.parts.keys()
    assert torch.equal(one.total, other.total)
