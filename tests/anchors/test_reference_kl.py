"""The reference KL against its formulas, written out in float64."""

import math

import pytest
import torch
from torch import Tensor

from smskd.anchors import catalog
from smskd.anchors.reference_kl import ReferenceKL, reference_kl_loss
from smskd.errors import UserError
from smskd.ops.divergences import true_class_probability

FORMS = ("probability", "complement", "uniform")
DIRECTIONS = ("forward", "reverse")
TEMPERATURES = (1.0, 4.0)


def logits(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


Y = torch.tensor([0, 4, 2, 2, 1, 3, 0])
STUDENT, REFERENCE, TEACHER = logits(1), logits(2), logits(3)


def softmax(row: list[float], temperature: float) -> list[float]:
    exponentials = [math.exp(value / temperature) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def by_hand(weighting: Tensor, form: str, direction: str, temperature: float) -> float:
    total = 0.0
    for student, reference, weights, y in zip(
        STUDENT.tolist(), REFERENCE.tolist(), weighting.tolist(), Y.tolist(), strict=True
    ):
        p, q = softmax(reference, temperature), softmax(student, temperature)
        if direction == "reverse":
            p, q = q, p
        divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        probability = softmax(weights, 1.0)[y]
        total += {"probability": probability, "complement": 1 - probability, "uniform": 1.0}[form] * divergence
    return temperature**2 * total / len(Y)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("source", ["reference", "teacher"])
def test_equals_the_formula(source: str, form: str, direction: str, temperature: float) -> None:
    anchor = ReferenceKL(temperature=temperature, source=source, form=form, direction=direction)  # type: ignore[arg-type]
    weighting = TEACHER if source == "teacher" else REFERENCE
    expected = by_hand(weighting, form, direction, temperature)
    assert float(anchor.loss(STUDENT, REFERENCE, TEACHER, Y)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_zero_with_zero_gradient_where_the_student_is_the_reference(
    form: str, direction: str, temperature: float
) -> None:
    student = REFERENCE.clone().requires_grad_()
    loss = reference_kl_loss(
        student,
        REFERENCE,
        Y,
        temperature=temperature,
        form=form,  # type: ignore[arg-type]
        direction=direction,  # type: ignore[arg-type]
    )
    loss.backward()
    assert student.grad is not None
    assert float(loss.detach()) == 0
    assert float(student.grad.abs().max()) < 1e-15


@pytest.mark.parametrize("form", FORMS)
def test_positive_elsewhere(form: str) -> None:
    assert float(ReferenceKL(form=form).loss(STUDENT, REFERENCE, None, Y)) > 0  # type: ignore[arg-type]


def test_uniform_is_plain_distillation_from_the_reference() -> None:
    ours = reference_kl_loss(STUDENT, REFERENCE, Y, temperature=4.0, form="uniform")
    theirs = 16 * torch.nn.functional.kl_div(
        (STUDENT / 4).log_softmax(1), (REFERENCE / 4).softmax(1), reduction="batchmean"
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0.0)


def test_probability_and_complement_add_up_to_uniform() -> None:
    parts = [reference_kl_loss(STUDENT, REFERENCE, Y, form=form) for form in FORMS]  # type: ignore[arg-type]
    torch.testing.assert_close(parts[0] + parts[1], parts[2], rtol=1e-12, atol=0.0)


def test_the_weights_are_probabilities_of_the_true_class_at_temperature_one() -> None:
    expected = REFERENCE.softmax(1)[torch.arange(len(Y)), Y]
    assert torch.equal(true_class_probability(REFERENCE, Y), expected)


def test_nothing_but_the_student_has_a_gradient() -> None:
    student, reference, weighting = (tensor.clone().requires_grad_() for tensor in (STUDENT, REFERENCE, TEACHER))
    reference_kl_loss(student, reference, Y, weighting=weighting).backward()
    assert reference.grad is None
    assert weighting.grad is None
    assert student.grad is not None
    torch.autograd.gradcheck(lambda z: reference_kl_loss(z, REFERENCE, Y, weighting=TEACHER), student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_is_the_weighted_difference_of_predictions(temperature: float) -> None:
    """d/dz of T^2 KL(p || s_T(z)) is T (s_T(z) - p): no term for the weight."""
    student = STUDENT.clone().requires_grad_()
    reference_kl_loss(student, REFERENCE, Y, temperature=temperature).backward()
    p, q = (REFERENCE / temperature).softmax(1), (STUDENT / temperature).softmax(1)
    weights = true_class_probability(REFERENCE, Y)[:, None]
    torch.testing.assert_close(student.grad, weights * temperature * (q - p) / len(Y), rtol=1e-10, atol=1e-14)


def test_large_logits_stay_finite() -> None:
    loss = reference_kl_loss(1e4 * STUDENT.float(), 1e4 * REFERENCE.float(), Y, temperature=1.0)
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32


class TestAuto:
    def test_uniform_under_relations_else_probability(self) -> None:
        anchor = ReferenceKL(form="auto", weight=0.3, direction="reverse")
        assert anchor.resolve({"relation"}) == ReferenceKL(form="uniform", weight=0.3, direction="reverse")
        assert anchor.resolve({"relation", "response"}).form == "uniform"
        assert anchor.resolve({"feature", "response"}).form == "probability"
        assert anchor.resolve(set()).form == "probability"

    @pytest.mark.parametrize("form", FORMS)
    def test_a_choice_that_was_made_stays(self, form: str) -> None:
        assert ReferenceKL(form=form).resolve({"relation"}).form == form  # type: ignore[arg-type]

    def test_has_to_be_settled_first(self) -> None:
        with pytest.raises(UserError, match="settled"):
            ReferenceKL(form="auto").loss(STUDENT, REFERENCE, None, Y)


class TestNeedsTeacher:
    def test_only_where_it_weights(self) -> None:
        assert ReferenceKL(source="teacher").needs_teacher
        assert ReferenceKL(source="teacher", form="complement").needs_teacher
        assert not ReferenceKL(source="teacher", form="uniform").needs_teacher
        assert not ReferenceKL().needs_teacher

    def test_says_so(self) -> None:
        with pytest.raises(UserError, match="needs a teacher"):
            ReferenceKL(source="teacher").loss(STUDENT, REFERENCE, None, Y)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -0.1}, "weight must be 0 or more, not -0.1"),
        ({"weight": math.nan}, "weight must be 0 or more, not nan"),
        ({"weight": math.inf}, "weight must be 0 or more, not inf"),
        ({"temperature": 0}, "temperature must be positive, not 0"),
        ({"temperature": math.nan}, "temperature must be positive, not nan"),
        ({"form": "probabilty"}, "'probabilty' is not a form; did you mean 'probability'"),
        ({"source": "techer"}, "'techer' is not a source; did you mean 'teacher'"),
        ({"direction": "backwards"}, "'backwards' is not a direction; "),
    ],
)
def test_refuses_what_makes_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ReferenceKL(**values)  # type: ignore[arg-type]


def test_the_function_refuses_an_unknown_form_and_direction() -> None:
    with pytest.raises(ValueError, match="form"):
        reference_kl_loss(STUDENT, REFERENCE, Y, form="probabilty")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="direction"):
        reference_kl_loss(STUDENT, REFERENCE, Y, direction="backwards")  # type: ignore[arg-type]


def test_as_published_by_default() -> None:
    assert ReferenceKL() == ReferenceKL(0.4, 4.0, "reference", "probability", "forward")


class TestCatalog:
    def test_finds_by_name_and_back(self) -> None:
        for name in catalog.names():
            assert catalog.name_of(catalog.find(name)()) == name
        assert catalog.find("reference_kl") is ReferenceKL

    def test_unknown(self) -> None:
        with pytest.raises(UserError, match="'true_clas' is not an anchor; did you mean 'reference_kl'"):
            catalog.find("true_clas")
