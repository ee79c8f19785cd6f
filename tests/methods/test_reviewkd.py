"""ReviewKD: fusion blocks, warm-up, the loss at several resolutions, and batches of one image."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.batch import Progress
from smskd.interfaces.features import FeatureLayout, ModelInfo
from smskd.methods.reviewkd import FusionBlock, ReviewKD, reviewkd_loss
from smskd.ops.layers import LenientBatchNorm2d
from smskd.testing.expect import total
from smskd.testing.inputs import DATA
from tests.support.method_inputs import STUDENT, TEACHER, build, case, read_names

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())


def _total(method: ReviewKD, epoch: int) -> Tensor:
    torch.manual_seed(0)
    state, inputs = build(method), case(method).inputs(4)
    inputs = replace(inputs, batch=replace(inputs.batch, progress=Progress(epoch, 240)))
    return total(method.loss(inputs, state)).detach()


def test_the_defaults_are_the_published_ones() -> None:
    published = DEFAULTS["reviewkd"]["hyperparameters"]
    assert ReviewKD().warmup == published["warmup"]
    assert ReviewKD().max_mid_channels == published["max_mid_channel"]
    assert ReviewKD().student_preactivations == published["stu_preact"]
    assert ReviewKD.published_weight == DEFAULTS["reviewkd"]["weights"]["mdistiller_default"]["reviewkd"]


@pytest.mark.parametrize(("epoch", "share"), [(1, 0.05), (10, 0.5), (20, 1.0), (200, 1.0)])
def test_the_loss_grows_over_the_warmup(epoch: int, share: float) -> None:
    assert float(_total(ReviewKD(), epoch)) == pytest.approx(share * float(_total(ReviewKD(warmup=1), 1)))


@pytest.mark.parametrize("field", ["warmup", "max_mid_channels"])
def test_a_value_out_of_range_is_refused(field: str) -> None:
    with pytest.raises(UserError, match=f"{field} must be a whole number of 1 or more, not 0"):
        ReviewKD(**{field: 0})  # type: ignore[arg-type]


def test_it_reads_the_teacher_before_its_relu_and_the_student_after_it() -> None:
    layout = FeatureLayout(STUDENT.features, 5, frozenset({"stage1", "stage2", "stage3"}))
    chosen = read_names(ReviewKD(), layout, layout)
    assert chosen.student == ("stage1", "stage2", "stage3", "pooled")
    assert chosen.teacher == ("stage1.preact", "stage2.preact", "stage3.preact", "pooled")
    assert read_names(ReviewKD(student_preactivations=True), layout, layout).student == chosen.teacher


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (FeatureLayout({"pooled": (4,)}, 5), "ReviewKD compares feature maps, and the {side} has none"),
        (FeatureLayout({"stage1": (4, 8, 8)}, 5), "ReviewKD reads the pooled vector, and the {side} has none"),
    ],
)
def test_models_without_maps_or_vector_are_refused(side: str, layout: FeatureLayout, message: str) -> None:
    pair = (layout, TEACHER) if side == "student" else (STUDENT, layout)
    with pytest.raises(UserError, match=message.format(side=side)):
        read_names(ReviewKD(), *pair)


def test_the_last_stages_are_paired_where_one_model_has_more() -> None:
    longer = FeatureLayout({f"stage{n}": (4, 2, 2) for n in range(1, 6)} | {"pooled": (4,)}, 5)
    chosen = read_names(ReviewKD(), longer, TEACHER)
    assert chosen.student == ("stage3", "stage4", "stage5", "pooled")
    assert chosen.teacher == ("stage1", "stage2", "stage3", "pooled")


@pytest.mark.parametrize(("limit", "mid_channels"), [(512, 12), (5, 5)])
def test_the_fused_maps_have_the_channels_of_the_pooled_vector_up_to_a_limit(limit: int, mid_channels: int) -> None:
    state = build(ReviewKD(max_mid_channels=limit))
    for level in range(4):
        block = state.get_submodule(f"abf{level}")
        assert isinstance(block, FusionBlock)
        assert block.reduce_conv.out_channels == mid_channels
        assert (block.attention_conv is None) == (level == 3)


def test_the_loss_by_hand() -> None:
    difference = torch.zeros(1, 1, 4, 4)
    difference[0, 0, 0, 0] = 4
    # Mean squares of the whole, of 2x2 and of 1x1 fields, with weights 1, 1/2 and 1/4.
    expected = (16 / 16 + 0.5 * 1 / 4 + 0.25 * (1 / 4) ** 2) / 1.75
    assert float(reviewkd_loss(difference, torch.zeros(1, 1, 4, 4))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("height", "width", "sizes"),
    [(1, 1, []), (2, 2, [1]), (2, 8, [1]), (4, 4, [2, 1]), (5, 9, [4, 2, 1]), (8, 8, [4, 2, 1])],
)
def test_only_smaller_fields_are_compared(height: int, width: int, sizes: list[int]) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, height, width), torch.randn(2, 3, height, width)
    views = [student - teacher, *(nn.functional.adaptive_avg_pool2d(student - teacher, size) for size in sizes)]
    weights = [0.5**k for k in range(len(views))]
    expected = sum(w * float(view.square().mean()) for w, view in zip(weights, views, strict=True)) / sum(weights)
    assert float(reviewkd_loss(student, teacher)) == pytest.approx(expected)


def test_maps_need_not_be_square_nor_of_the_teacher_s_size() -> None:
    torch.manual_seed(0)
    student, teacher = ModelInfo(((3, 6, 4), (5, 3, 2), (5,)), 5), ModelInfo(((4, 12, 8), (6, 3, 2), (6,)), 5)
    state = ReviewKD().build(student, teacher, DATA)
    block = state.get_submodule("abf0")
    out, fused = block(torch.randn(2, 3, 6, 4), torch.randn(2, 5, 3, 2), (12, 8))
    assert tuple(out.shape) == (2, 4, 12, 8)
    assert tuple(fused.shape) == (2, 5, 12, 8)


def test_early_blocks_learn_from_later_stages_of_the_student() -> None:
    torch.manual_seed(0)
    method = ReviewKD()
    state, inputs = build(method), case(method).inputs(4)
    parts = method.loss(inputs, state)
    features = inputs.student.features
    assert list(parts) == ["level0", "level1", "level2", "level3"]
    first = torch.autograd.grad(parts["level0"].mean(), features, retain_graph=True)
    assert all(gradient.abs().max() > 0 for gradient in first)
    last = torch.autograd.grad(parts["level3"].mean(), features, allow_unused=True)
    assert [gradient is None for gradient in last] == [True, True, True, False]


def test_a_batch_of_one_image_in_train_mode_uses_the_running_statistics() -> None:
    torch.manual_seed(0)
    method = ReviewKD()
    state, inputs = build(method).train(), case(method).inputs(1)
    before = {name: tensor.clone() for name, tensor in state.get_submodule("abf3").state_dict().items()}
    parts = method.loss(inputs, state)
    total(parts).backward()
    assert all(torch.isfinite(part).all() for part in parts.values())
    after = state.get_submodule("abf3.reduce_bn").state_dict()
    assert all(torch.equal(before[f"reduce_bn.{name}"], after[name]) for name in after)


@pytest.mark.parametrize("shape", [(4, 3, 1, 1), (1, 3, 2, 1), (5, 3, 4, 4)])
def test_other_batches_are_normalised_as_by_torch(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    lenient, plain = LenientBatchNorm2d(3), nn.BatchNorm2d(3)
    assert torch.equal(lenient(x), plain(x))
    assert all(torch.equal(lenient.state_dict()[name], plain.state_dict()[name]) for name in plain.state_dict())
