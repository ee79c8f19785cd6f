import math

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from smskd.config.augmentation import RandomErasingConfig
from smskd.data.augment.boxes import Boxes, covered, crop_boxes
from smskd.data.augment.erasing import erased
from smskd.data.augment.resized_crop import resized_crop

SIZE = (24, 30)


def images(n=40):
    return torch.randint(0, 256, (n, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def listed(boxes):
    return torch.stack([boxes.top, boxes.left, boxes.height, boxes.width], dim=1)


@pytest.mark.parametrize("size", [SIZE, (11, 37)])
def test_a_resized_crop_is_that_of_torchvision(size):
    given = images()
    boxes = crop_boxes(3, 1, torch.arange(len(given)), SIZE, (0.08, 1.0), (3 / 4, 4 / 3))
    assert len({tuple(box) for box in listed(boxes).tolist()}) > 30
    ours = resized_crop(given, boxes, size)
    for row, (top, left, height, width) in enumerate(listed(boxes).tolist()):
        theirs = F.resized_crop(given[row], top, left, height, width, list(size), antialias=True)
        assert (ours[row].int() - theirs.int()).abs().max() <= 1


def test_the_whole_image_stays_as_it_is():
    given = images(3)
    zero = torch.zeros(3, dtype=torch.int64)
    assert torch.equal(resized_crop(given, Boxes(zero, zero, zero + SIZE[0], zero + SIZE[1]), SIZE), given)


def test_boxes_have_the_area_and_the_ratio_asked_for():
    boxes = crop_boxes(1, 1, torch.arange(5000), (200, 200), (0.1, 0.5), (0.5, 2.0))
    top, left, height, width = listed(boxes).double().unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 200).all()
    assert (left + width <= 200).all()
    area, ratio = height * width / 200**2, width / height
    assert 0.098 < area.min() < 0.11
    assert 0.49 < area.max() < 0.51
    assert abs(float(area.mean()) - 0.3) < 0.01
    assert 0.49 < ratio.min() < 0.52
    assert 1.9 < ratio.max() < 2.05
    assert abs(float(ratio.log().mean())) < 0.03
    assert abs(float((top / (200 - height).clamp_min(1)).mean()) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("ratio", "expected"), [((4.0, 5.0), (0, 0, 6, 24)), ((0.1, 0.2), (0, 9, 24, 5)), ((0.9, 1.1), (0, 0, 24, 24))]
)
def test_where_no_box_fits_it_is_the_largest_at_the_centre(ratio, expected):
    size = (24, 24)
    boxes = crop_boxes(1, 1, torch.arange(4), size, (1.0, 1.0), ratio)
    found = {tuple(box) for box in listed(boxes).tolist()}
    height, width = expected[2:]
    assert found == {((24 - height) // 2, (24 - width) // 2, height, width)}


def test_a_draw_depends_on_its_number_alone():
    index = torch.arange(30)
    boxes = listed(crop_boxes(1, 2, index, SIZE, (0.08, 1.0), (0.75, 1.5)))
    assert torch.equal(listed(crop_boxes(1, 2, index[7:9], SIZE, (0.08, 1.0), (0.75, 1.5))), boxes[7:9])
    assert not torch.equal(listed(crop_boxes(1, 3, index, SIZE, (0.08, 1.0), (0.75, 1.5))), boxes)
    assert not torch.equal(listed(crop_boxes(2, 2, index, SIZE, (0.08, 1.0), (0.75, 1.5))), boxes)


def test_covered_is_the_box():
    boxes = Boxes(*torch.tensor([[1, 0], [2, 0], [2, 0], [1, 5]]))
    expected = torch.zeros(2, 1, 4, 5, dtype=torch.bool)
    expected[0, 0, 1:3, 2:3] = True
    assert torch.equal(covered(boxes, (4, 5)), expected)


class TestErasing:
    def test_a_rectangle_of_the_asked_size_is_zero(self):
        given = torch.ones(2000, 2, 40, 40)
        result = erased(RandomErasingConfig(probability=0.5), given, key=1, epoch=1, index=torch.arange(2000))
        hidden = result == 0
        assert torch.equal(hidden[:, 0], hidden[:, 1])
        assert ((result == 1) | hidden).all()
        rows, columns = hidden[:, 0].any(2).sum(1), hidden[:, 0].any(1).sum(1)
        area = hidden[:, 0].sum((1, 2))
        assert torch.equal(rows * columns, area)
        some = area > 0
        assert abs(float(some.double().mean()) - 0.5) < 0.05
        share = area[some] / 1600
        assert share.min() > 0.015
        assert share.max() < 0.36
        ratio = (rows[some] / columns[some]).double()
        assert ratio.min() > 0.2
        assert ratio.max() < 4.5
        # Flat and tall ones alike, apart from those that do not fit.
        assert abs(float((ratio > 1).double().mean()) - 0.5) < 0.06

    def test_noise_is_normal_and_of_its_own_for_each_image(self):
        config = RandomErasingConfig(probability=1.0, scale=(0.3, 0.3), ratio=(1.0, 1.0), value="noise")
        given = torch.full((300, 3, 20, 20), 100.0)
        result = erased(config, given, key=1, epoch=1, index=torch.arange(300))
        noise = result[result != 100]
        assert len(noise) == 300 * 3 * 11 * 11
        assert abs(float(noise.mean())) < 0.02
        assert abs(float(noise.std()) - 1) < 0.02
        assert abs(float((noise.abs() < 1).double().mean()) - math.erf(math.sqrt(0.5))) < 0.01
        assert noise.unique().numel() > 0.99 * len(noise)
        again = erased(config, given[5:6], key=1, epoch=1, index=torch.tensor([5]))
        assert torch.equal(again, result[5:6])

    @pytest.mark.parametrize("value", ["zero", "noise"])
    def test_memory_format_is_kept(self, value):
        given = torch.ones(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
        result = erased(RandomErasingConfig(1.0, value=value), given, key=1, epoch=1, index=torch.arange(4))
        assert result.is_contiguous(memory_format=torch.channels_last)
