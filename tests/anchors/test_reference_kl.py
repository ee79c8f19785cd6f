"""The reference KL against its formulas, computed step by step in float64."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.anchors.reference_kl import ReferenceKL, reference_kl_loss
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import TermInputs
from smskd.ops.divergences import true_class_probability

TCPS = ("probability", "complement", "none")
KLS = ("forward", "reverse")
TEMPERATURES = (1.0, 4.0)
LAYOUT = FeatureLayout({"pooled": (3,)}, classes=5)


def logits(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


Y = torch.tensor([0, 4, 2, 2, 1, 3, 0])
STUDENT, REFERENCE, TEACHER = logits(1), logits(2), logits(3)


def loss(anchor: ReferenceKL, student: Tensor = STUDENT) -> Tensor:
    inputs = TermInputs(
        Batch(torch.zeros(len(Y), 1, 1, 1), Y), TappedOutputs(student), TappedOutputs(TEACHER), TappedOutputs(REFERENCE)
    )
    (part,) = anchor.loss(inputs, nn.Module()).values()
    return part


def softmax(row: list[float], temperature: float) -> list[float]:
    exponentials = [math.exp(value / temperature) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def by_hand(tcp_logits: Tensor, tcp: str, kl: str, temperature: float) -> list[float]:
    losses = []
    for student, reference, weighting, y in zip(
        STUDENT.tolist(), REFERENCE.tolist(), tcp_logits.tolist(), Y.tolist(), strict=True
    ):
        p, q = softmax(reference, temperature), softmax(student, temperature)
        if kl == "reverse":
            p, q = q, p
        divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        probability = softmax(weighting, 1.0)[y]
        weight = {"probability": probability, "complement": 1 - probability, "none": 1.0}[tcp]
        losses.append(temperature**2 * weight * divergence)
    return losses


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("kl", KLS)
@pytest.mark.parametrize("tcp", TCPS)
@pytest.mark.parametrize("tcp_from", ["reference", "teacher"])
def test_equals_the_formula_sample_by_sample(tcp_from: Any, tcp: Any, kl: Any, temperature: float) -> None:
    anchor = ReferenceKL(temperature=temperature, tcp_from=tcp_from, tcp=tcp, kl=kl)
    expected = by_hand(TEACHER if tcp_from == "teacher" else REFERENCE, tcp, kl, temperature)
    assert loss(anchor).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_function_averages_over_the_batch_by_default() -> None:
    per_sample = reference_kl_loss(STUDENT, REFERENCE, Y, reduction="none")
    assert per_sample.shape == (7,)
    torch.testing.assert_close(reference_kl_loss(STUDENT, REFERENCE, Y), per_sample.mean(), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("kl", KLS)
@pytest.mark.parametrize("tcp", TCPS)
def test_zero_with_zero_gradient_where_the_student_is_the_reference(tcp: Any, kl: Any, temperature: float) -> None:
    student = REFERENCE.clone().requires_grad_()
    value = reference_kl_loss(student, REFERENCE, Y, temperature=temperature, tcp=tcp, kl=kl)
    value.backward()
    assert student.grad is not None
    assert float(value.detach()) == 0
    assert float(student.grad.abs().max()) < 1e-15


@pytest.mark.parametrize("tcp", TCPS)
def test_positive_elsewhere(tcp: Any) -> None:
    assert bool((loss(ReferenceKL(tcp=tcp)) > 0).all())


def test_none_is_plain_distillation_from_the_reference() -> None:
    ours = reference_kl_loss(STUDENT, REFERENCE, Y, temperature=4.0, tcp="none")
    theirs = 16 * torch.nn.functional.kl_div(
        (STUDENT / 4).log_softmax(1), (REFERENCE / 4).softmax(1), reduction="batchmean"
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0.0)


def test_probability_and_complement_add_up_to_none() -> None:
    probability, complement, none = (loss(ReferenceKL(tcp=tcp)) for tcp in TCPS)  # type: ignore[arg-type]
    torch.testing.assert_close(probability + complement, none, rtol=1e-12, atol=0.0)


def test_the_weights_are_probabilities_of_the_true_class_at_temperature_one() -> None:
    expected = REFERENCE.softmax(1)[torch.arange(len(Y)), Y]
    assert torch.equal(true_class_probability(REFERENCE, Y), expected)


def test_only_the_student_receives_a_gradient() -> None:
    student, reference, tcp_logits = (tensor.clone().requires_grad_() for tensor in (STUDENT, REFERENCE, TEACHER))
    reference_kl_loss(student, reference, Y, tcp_logits=tcp_logits).backward()
    assert reference.grad is None
    assert tcp_logits.grad is None
    assert student.grad is not None
    torch.autograd.gradcheck(lambda z: reference_kl_loss(z, REFERENCE, Y, tcp_logits=TEACHER), student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_is_the_weighted_difference_of_predictions(temperature: float) -> None:
    """d/dz of T^2 KL(p || softmax(z / T)) is T (softmax(z / T) - p), without a term for the weight."""
    student = STUDENT.clone().requires_grad_()
    reference_kl_loss(student, REFERENCE, Y, temperature=temperature).backward()
    p, q = (REFERENCE / temperature).softmax(1), (STUDENT / temperature).softmax(1)
    weights = true_class_probability(REFERENCE, Y)[:, None]
    torch.testing.assert_close(student.grad, weights * temperature * (q - p) / len(Y), rtol=1e-10, atol=1e-14)


def test_large_logits_stay_finite() -> None:
    value = reference_kl_loss(1e4 * STUDENT.float(), 1e4 * REFERENCE.float(), Y, temperature=1.0)
    assert torch.isfinite(value)
    assert value.dtype == torch.float32


class TestAuto:
    def test_none_under_relations_else_probability(self) -> None:
        anchor = ReferenceKL(tcp="auto", weight=0.3, kl="reverse")
        assert anchor.resolve({"relation"}) == ReferenceKL(tcp="none", weight=0.3, kl="reverse")
        assert anchor.resolve({"relation", "response"}).tcp == "none"
        assert anchor.resolve({"feature", "response"}).tcp == "probability"
        assert anchor.resolve(set()).tcp == "probability"

    @pytest.mark.parametrize("tcp", TCPS)
    def test_any_other_value_stays(self, tcp: Any) -> None:
        assert ReferenceKL(tcp=tcp).resolve({"relation"}).tcp == tcp

    def test_has_no_loss_before_it_is_resolved(self) -> None:
        with pytest.raises(UserError, match=r"call resolve\(\) first"):
            loss(ReferenceKL(tcp="auto"))


class TestReads:
    def test_the_teacher_only_where_it_weights(self) -> None:
        both = Reads(("logits",), reference=("logits",))
        all_three = Reads(("logits",), ("logits",), ("logits",))
        assert ReferenceKL().reads(LAYOUT, None) == both
        assert ReferenceKL().reads(LAYOUT, LAYOUT) == both
        assert ReferenceKL(tcp_from="teacher", tcp="none").reads(LAYOUT, None) == both
        assert ReferenceKL(tcp_from="teacher").reads(LAYOUT, LAYOUT) == all_three
        assert ReferenceKL(tcp_from="teacher", tcp="complement").reads(LAYOUT, LAYOUT) == all_three

    def test_refuses_a_teacher_that_is_not_there(self) -> None:
        with pytest.raises(UserError, match="tcp_from 'teacher' needs a teacher; choose tcp_from 'reference'"):
            ReferenceKL(tcp_from="teacher").reads(LAYOUT, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -0.1}, "weight must be 0 or more, not -0.1"),
        ({"weight": math.nan}, "weight must be 0 or more, not nan"),
        ({"weight": math.inf}, "weight must be 0 or more, not inf"),
        ({"temperature": 0}, "temperature must be positive, not 0"),
        ({"temperature": math.nan}, "temperature must be positive, not nan"),
        ({"tcp": "probabilty"}, "unknown tcp 'probabilty'; did you mean 'probability'"),
        ({"tcp": None}, "unknown tcp 'None'; "),
        ({"tcp_from": "techer"}, "unknown tcp_from 'techer'; did you mean 'teacher'"),
        ({"kl": "backwards"}, "unknown kl 'backwards'; "),
    ],
)
def test_refuses_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ReferenceKL(**values)


@pytest.mark.parametrize("name", ["tcp", "kl", "reduction"])
def test_the_function_refuses_an_unknown_choice(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, not 'sum'"):
        reference_kl_loss(STUDENT, REFERENCE, Y, **{name: "sum"})  # type: ignore[arg-type]


def test_as_published_by_default() -> None:
    assert ReferenceKL() == ReferenceKL(0.4, 4.0, "probability", "reference", "forward")
