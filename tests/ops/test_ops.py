"""Divergences, precision, geometry, regressors and pairing."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.batch import Progress
from smskd.interfaces.features import Reads, Tap
from smskd.ops.divergences import softened_kl, true_class_probability
from smskd.ops.geometry import pairwise_distances, pool_to_smaller, safe_normalize
from smskd.ops.layers import ConvRegressor, Resize
from smskd.ops.levels import LevelModules
from smskd.ops.pairing import last_maps, paired_preactivations, paired_stages, pooled_vectors
from smskd.ops.precision import differentiated, full_precision
from smskd.ops.reduction import reduced, sample_mean, sample_sum
from smskd.ops.warmup import warmup_factor
from smskd.testing.inputs import NARROW, WIDE

LOGITS = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
TARGET = torch.tensor([[4.0, 2.0, 1.0], [0.0, math.log(2.0), 0.0]])


def test_softened_kl_by_hand() -> None:
    student = torch.full((1, 2), 0.5).log() * 2
    target = torch.tensor([[0.75, 0.25]]).log() * 2
    forward = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    reverse = 4 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert float(softened_kl(student, target, 2.0)) == pytest.approx(forward, rel=1e-5)
    assert float(softened_kl(student, target, 2.0, direction="reverse")) == pytest.approx(reverse, rel=1e-5)


def test_the_mean_of_softened_kl_is_over_the_samples() -> None:
    each = softened_kl(LOGITS, TARGET, 3.0, reduction="none")
    assert each.shape == (2,)
    torch.testing.assert_close(softened_kl(LOGITS, TARGET, 3.0), each.mean())


def test_softened_kl_of_equal_predictions_is_zero_and_without_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = softened_kl(logits, LOGITS, 4.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_no_gradient_reaches_the_target() -> None:
    student, target = LOGITS.clone().requires_grad_(), TARGET.clone().requires_grad_()
    softened_kl(student, target, 4.0).backward()
    assert student.grad is not None
    assert target.grad is None


@pytest.mark.parametrize("arguments", [{"reduction": "sum"}, {"direction": "backward"}])
def test_softened_kl_refuses_other_choices(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        softened_kl(LOGITS, TARGET, 4.0, **arguments)  # type: ignore[arg-type]


def test_true_class_probability() -> None:
    logits = TARGET.clone().requires_grad_()
    probability = true_class_probability(logits, torch.tensor([2, 1]))
    expected = torch.tensor([math.e / (math.e**4 + math.e**2 + math.e), 0.5])
    torch.testing.assert_close(probability, expected)
    assert not probability.requires_grad


def test_full_precision_widens_sixteen_bits_and_nothing_else() -> None:
    @full_precision
    def product(x: Tensor, many: list[Tensor]) -> Tensor:
        assert all(tensor.dtype == x.dtype for tensor in many)
        return x @ x.T

    for given, computed in [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ]:
        x = torch.ones(2, 2, dtype=given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert product(x, [x]).dtype == computed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_safe_normalize_has_the_value_of_normalize_everywhere(dtype: torch.dtype) -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-14, 0.0], [1e-10, 1e-10]], dtype=dtype)
    torch.testing.assert_close(safe_normalize(x), torch.nn.functional.normalize(x), rtol=1e-6, atol=0)


def test_safe_normalize_has_no_gradient_where_there_is_no_direction() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    safe_normalize(x)[:, 0].sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[0.128, -0.096], [0.0, 0.0]]))


def test_pairwise_distances() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]], requires_grad=True)
    distances = pairwise_distances(x)
    torch.testing.assert_close(
        distances.detach(), torch.tensor([[0, 5, 5], [5, 0, 1e-6], [5, 1e-6, 0]], dtype=torch.float32)
    )
    distances.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() < 10


@pytest.mark.parametrize(
    ("student", "teacher", "size"),
    [((8, 8), (4, 4), (4, 4)), ((5, 5), (8, 8), (5, 5)), ((4, 4), (4, 4), (4, 4)), ((8, 4), (4, 8), (4, 4))],
)
def test_the_larger_map_is_pooled(student: tuple[int, int], teacher: tuple[int, int], size: tuple[int, int]) -> None:
    pooled = pool_to_smaller(torch.ones(2, 3, *student), torch.ones(2, 5, *teacher))
    assert [tuple(x.shape) for x in pooled] == [(2, 3, *size), (2, 5, *size)]
    assert all(torch.equal(x, torch.ones_like(x)) for x in pooled)


@pytest.mark.parametrize(
    ("student", "teacher", "convolution"),
    [
        ((3, 8, 8), (5, 4, 4), "Conv2d(3, 5, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"),
        ((3, 4, 4), (5, 8, 8), "ConvTranspose2d(3, 5, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))"),
        ((3, 4, 4), (5, 4, 4), "Conv2d(3, 5, kernel_size=(1, 1), stride=(1, 1))"),
        ((3, 7, 7), (5, 4, 4), "Conv2d(3, 5, kernel_size=(4, 4), stride=(1, 1))"),
        ((3, 8, 6), (5, 4, 4), "Conv2d(3, 5, kernel_size=(5, 3), stride=(1, 1))"),
        ((3, 1, 1), (5, 1, 1), "Conv2d(3, 5, kernel_size=(1, 1), stride=(1, 1))"),
    ],
)
def test_a_regressor_is_chosen_by_the_sizes_and_gives_the_teachers(
    student: tuple[int, ...], teacher: tuple[int, ...], convolution: str
) -> None:
    regressor = ConvRegressor(student, teacher)
    assert str(regressor.conv) == convolution
    assert regressor(torch.randn(2, *student)).shape == (2, *teacher)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((3, 4, 4), (5, 6, 6)), ((3, 2, 2), (5, 8, 8)), ((3, 1, 1), (5, 7, 7)), ((3, 8, 2), (5, 4, 6))],
)
def test_a_student_that_no_published_convolution_fits_is_resized(
    student: tuple[int, ...], teacher: tuple[int, ...]
) -> None:
    regressor = ConvRegressor(student, teacher)
    assert str(regressor.conv[1]) == "Conv2d(3, 5, kernel_size=(1, 1), stride=(1, 1))"
    assert regressor(torch.randn(2, *student)).shape == (2, *teacher)


def test_a_map_is_averaged_over_what_is_larger_and_interpolated_where_it_is_smaller() -> None:
    x = torch.tensor([[0.0, 2.0], [4.0, 6.0], [8.0, 10.0], [12.0, 14.0]])[None, None]
    found = Resize((2, 4))(x)[0, 0]
    assert torch.equal(found, torch.tensor([[2.0, 2.5, 3.5, 4.0], [10.0, 10.5, 11.5, 12.0]]))
    assert Resize((4, 2))(x) is x


def test_a_vector_has_no_regressor() -> None:
    with pytest.raises(UserError, match="needs feature maps"):
        ConvRegressor((12,), (5, 8, 8))


def test_stages_are_paired_without_the_stem() -> None:
    reads = paired_stages(NARROW, WIDE, "AT")
    stages = tuple(map(Tap, ("stage1", "stage2", "stage3")))
    assert reads.student == reads.teacher == stages


@pytest.mark.parametrize("pair", [paired_stages, paired_preactivations, last_maps, pooled_vectors])
def test_no_teacher_is_refused(pair: Callable[..., Reads]) -> None:
    with pytest.raises(UserError, match="RKD compares the student with a teacher, and there is none"):
        pair(NARROW, None, "RKD")


def test_preactivations_are_read_where_a_feature_has_one() -> None:
    with_some = replace(NARROW, preactivations=frozenset({"stage2"}))
    reads = paired_preactivations(with_some, WIDE, "AB")
    assert list(map(str, reads.student)) == ["stage1", "stage2.preact", "stage3"]
    assert list(map(str, reads.teacher)) == ["stage1", "stage2", "stage3"]


def test_reductions() -> None:
    losses = torch.tensor([1.0, 3.0])
    assert reduced(losses, "none") is losses
    assert float(reduced(losses, "mean")) == 2
    with pytest.raises(ValueError, match="reduction must be 'none' or 'mean', not 'sum'"):
        reduced(losses, "sum")  # type: ignore[arg-type]
    x = torch.arange(12.0).view(2, 2, 3)
    assert sample_mean(x).tolist() == [2.5, 8.5]
    assert sample_sum(x).tolist() == [15.0, 51.0]


@pytest.mark.parametrize(("epoch", "factor"), [(1, 0.25), (3, 0.75), (4, 1.0), (9, 1.0)])
def test_warmup(epoch: int, factor: float) -> None:
    assert warmup_factor(Progress(epoch, 10), 4) == factor
    assert warmup_factor(Progress(epoch, 10), 1) == 1


def test_level_modules_have_numbered_names_and_are_replaced_where_a_child_is() -> None:
    levels = LevelModules("level", [nn.Linear(2, 3), nn.Linear(3, 4)])
    assert list(levels.state_dict()) == ["level0.weight", "level0.bias", "level1.weight", "level1.bias"]
    assert [layer.out_features for layer in levels] == [3, 4]
    assert (len(levels), levels[1].out_features) == (2, 4)
    levels.level0 = nn.Linear(2, 7)
    assert levels[0].out_features == 7


def test_a_gradient_of_the_forward_pass_is_that_of_autograd_for_each_sample() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(3, 5, dtype=torch.float64)
    weights = torch.tensor([1.0, -2.0, 0.0, 3.0], dtype=torch.float64)
    values, _ = differentiated(lambda rows: ((rows @ memory).square().sum(1), None), x)
    expected = (x @ memory).square().sum(1)
    (wanted,) = torch.autograd.grad((weights * expected).sum(), x)
    memory.zero_()
    (found,) = torch.autograd.grad((weights * values).sum(), x)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(found, wanted)
