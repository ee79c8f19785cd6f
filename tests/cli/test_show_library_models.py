"""`smskd models` of networks of other libraries."""

import json

import pytest

from smskd.cli.show_models import print_model
from smskd.errors import UserError


def test_features_with_their_strides_and_modules(capsys: pytest.CaptureFixture[str]) -> None:
    print_model("timm/resnet10t", as_json=True, image_size=(64, 32))
    found = json.loads(capsys.readouterr().out)
    assert found["image_shape"] == [3, 64, 32]
    assert found["features"]["stage2"] == [128, 8, 4]
    assert found["places"]["stage2"] == {
        "shape": [128, 8, 4],
        "kind": "map",
        "stride": [8.0, 8.0],
        "module": "layer2",
    }
    assert found["roles"] == {
        "stem": "stem",
        "stages": ["stage1", "stage2", "stage3", "stage4"],
        "last_map": "stage4",
        "pooled": "pooled",
    }


def test_a_model_of_the_zoo_for_larger_images(capsys: pytest.CaptureFixture[str]) -> None:
    print_model("resnet8", as_json=False, image_size=(64, 64))
    text = capsys.readouterr().out
    assert "64 x 16 x 16 (map, stride 4 x 4)" in text
    assert "stage1, stage2, stage3" in text


def test_a_name_is_missing_behind_the_slash() -> None:
    with pytest.raises(UserError, match="the name of a network of timm is missing behind the slash"):
        print_model("timm/", as_json=False)


def test_a_wrong_name_gets_the_nearest_of_its_library() -> None:
    with pytest.raises(UserError, match=r"timm has no image classifier 'resnet10x'; did you mean 'resnet10t'"):
        print_model("timm/resnet10x", as_json=False)
