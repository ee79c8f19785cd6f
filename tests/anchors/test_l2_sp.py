"""L2-SP against its formula, element by element."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.anchors.l2_sp import L2SP, l2_sp_loss
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import TermInputs


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)).double()
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.normal_()
    return body


def weights(seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        return dict(network(seed).named_parameters())


def inputs(student: dict[str, Tensor], reference: dict[str, Tensor]) -> TermInputs:
    batch = Batch(torch.zeros(1, 2, 4, 4), torch.zeros(1, dtype=torch.int64))
    reference = {name: tensor.detach() for name, tensor in reference.items()}
    return TermInputs(batch, TappedOutputs(), weights=student, reference_weights=reference)


def gradients(anchor: L2SP, student: dict[str, Tensor], reference: dict[str, Tensor]) -> dict[str, Tensor | None]:
    anchor.loss(inputs(student, reference), nn.Module())["l2_sp"].backward()
    return {name: tensor.grad for name, tensor in student.items()}


def by_hand(student: dict[str, Tensor], reference: dict[str, Tensor]) -> float:
    total = 0.0
    for name, tensor in student.items():
        pairs = zip(tensor.flatten().tolist(), reference[name].flatten().tolist(), strict=True)
        total += sum((own - start) ** 2 for own, start in pairs)
    return total / 2


def test_the_function_is_half_of_the_squared_distance() -> None:
    student, reference = weights(1), weights(2)
    assert float(l2_sp_loss(student, reference).detach()) == pytest.approx(by_hand(student, reference), rel=1e-12)


def test_the_gradient_is_the_difference_of_the_weights() -> None:
    student, reference = weights(1), weights(2)
    for name, gradient in gradients(L2SP(parameters="all"), student, reference).items():
        torch.testing.assert_close(gradient, student[name].detach() - reference[name].detach(), rtol=1e-12, atol=0.0)


def test_by_default_only_kernels_and_matrices_are_pulled_as_published() -> None:
    found = gradients(L2SP(), weights(1), weights(2))
    assert {name for name, gradient in found.items() if gradient is not None} == {"0.weight", "3.weight"}


def test_all_includes_scale_and_shift_of_batch_norm_but_no_running_statistics() -> None:
    found = gradients(L2SP(parameters="all"), weights(1), weights(2))
    expected = {"0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"}
    assert {name for name, gradient in found.items() if gradient is not None} == expected


def test_zero_at_the_reference() -> None:
    student = weights(1)
    assert float(L2SP(parameters="all").loss(inputs(student, student), nn.Module())["l2_sp"].detach()) == 0


def test_the_reference_receives_no_gradient() -> None:
    student, reference = weights(1), weights(2)
    l2_sp_loss(student, reference).backward()
    assert all(tensor.grad is None for tensor in reference.values())


def test_computes_in_float32_under_autocast() -> None:
    student = {name: tensor.detach().float() for name, tensor in weights(1).items()}
    reference = {name: tensor.detach().float() for name, tensor in weights(2).items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = l2_sp_loss(student, reference)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(by_hand(student, reference), rel=1e-5)


class TestFreeParameters:
    def test_one_that_the_reference_lacks(self) -> None:
        reference = weights(2)
        del reference["3.weight"]
        assert gradients(L2SP(), weights(1), reference)["3.weight"] is None

    def test_one_that_has_another_shape_in_the_reference(self) -> None:
        found = gradients(L2SP(), weights(1), weights(2) | {"3.weight": torch.zeros(7, 12)})
        assert found["3.weight"] is None
        assert found["0.weight"] is not None

    @pytest.mark.parametrize("name", ["3", "3.weight"])
    def test_an_excluded_module_or_parameter(self, name: str) -> None:
        found = gradients(L2SP(exclude=(name,)), weights(1), weights(2))
        assert found["3.weight"] is None
        assert found["0.weight"] is not None

    def test_a_prefix_of_a_name_is_not_a_module(self) -> None:
        with pytest.raises(UserError, match=r"exclude: the student has no trainable parameter '3\.wei'"):
            L2SP(exclude=("3.wei",)).loss(inputs(weights(1), weights(2)), nn.Module())

    @pytest.mark.parametrize("reference", [{}, {"other": torch.zeros(2, 2)}])
    def test_not_all_of_them(self, reference: dict[str, Tensor]) -> None:
        with pytest.raises(UserError, match="student and reference share no trainable parameter"):
            L2SP().loss(inputs(weights(1), reference), nn.Module())


def test_reads_weights_alone_and_may_act_in_the_first_stage() -> None:
    layout = FeatureLayout({"pooled": (12,)}, classes=4)
    assert L2SP().reads(layout, None) == Reads(weights=True)
    assert L2SP.first_stage


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -1}, "weight must be 0 or more, not -1"),
        ({"weight": math.nan}, "weight must be 0 or more, not nan"),
        ({"parameters": "weight"}, "unknown parameters 'weight'; did you mean 'weights'"),
        ({"exclude": "fc"}, "exclude must be a list of names, not 'fc'"),
    ],
)
def test_refuses_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        L2SP(**values)
