"""Networks of timm, torchvision and transformers by name."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from smskd.errors import UserError
from smskd.models import create, describe, facts, load_weights, save_weights
from smskd.objective.build import build_objective
from smskd.registry import MODELS


def folder(path: Path, **changes: Any) -> str:
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        num_labels=3,
        **changes,
    )
    transformers.ViTForImageClassification(config).save_pretrained(path)
    return f"transformers/{path}"


def test_timm_is_told_classes_channels_and_size() -> None:
    model = create("timm/vit_tiny_patch16_224", 7, 1, (64, 32), depth=2, embed_dim=16, num_heads=2)
    layout = describe(model, (1, 64, 32))
    assert layout.classes == 7
    assert layout.stages == ("block1", "block2")
    assert layout.features["block2"] == (16, 4, 2)


def test_torchvision_is_told_classes_and_size() -> None:
    model = create("torchvision/mobilenet_v3_small", 7, 3, (64, 64))
    assert describe(model, (3, 64, 64)).classes == 7


def test_transformers_reads_a_folder(tmp_path: Path) -> None:
    name = folder(tmp_path)
    model = create(name, 7, 1, (16, 16))
    layout = describe(model, (1, 16, 16))
    assert layout.classes == 7
    assert layout.features["block2"] == (16, 2, 2)
    same = create(name, 3, 3, (32, 32), pretrained=True)
    again = create(name, 3, 3, (32, 32), pretrained=True)
    assert all(torch.equal(*pair) for pair in zip(same.parameters(), again.parameters(), strict=True))
    with pytest.raises(UserError, match=r"the pretrained .* has 3 output classes, the data 7; .* head: new"):
        create(name, 7, 3, (32, 32), pretrained=True)
    fresh = create(name, 7, 3, (32, 32), pretrained=True, head="new")
    assert describe(fresh, (3, 32, 32)).classes == 7
    own = create(name, 7, 3, (32, 32), pretrained=True, head="own")
    assert describe(own, (3, 32, 32)).classes == 3


def test_the_nearest_folder(tmp_path: Path) -> None:
    (tmp_path / "vit-small").mkdir()
    (tmp_path / "vit-small" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"vit-smal has no config.json; did you mean '.*vit-small'"):
        create(f"transformers/{tmp_path}/vit-smal", 10)


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18"])
def test_pretrained_weights_of_other_classes_are_refused_before_they_are_downloaded(name: str) -> None:
    with pytest.raises(UserError, match=r"has 1000 output classes, the data 10; .*head: new"):
        create(name, 10, pretrained=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/resnet180", {}, "timm has no image classifier 'resnet180'; did you mean 'resnet18'"),
        ("torchvision/resnet19", {}, "torchvision has no image classifier 'resnet19'; did you mean 'resnet1"),
        ("torchvision/fasterrcnn_resnet50_fpn", {}, "torchvision has no image classifier"),
        ("timm/", {}, "model 'timm/': the name of a network of timm is missing"),
        ("timm/resnet18", {"depth": 3}, "model 'timm/resnet18' cannot be made: .*depth"),
        ("timm/resnet18", {"head": "old"}, "head must be one of new, own, none, not 'old'"),
        ("timm/resnet18", {"pretrained": "yes"}, "pretrained must be true or false, not 'yes'"),
        ("torchvision/resnet18", {"head": "none"}, "torchvision makes no network without its last layer"),
        ("tim/resnet18", {}, "before the slash must be one of timm, torchvision, transformers"),
        ("transformers/./nowhere", {}, "model 'transformers/./nowhere' cannot be made|has no config.json"),
    ],
)
def test_mistakes(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create(name, 10, **options)


def test_a_network_of_torchvision_with_other_channels_is_refused() -> None:
    with pytest.raises(UserError, match="take images of 3 channels, not 1"):
        create("torchvision/resnet18", 10, 1)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_library_that_is_not_installed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"pip install 'smskd\[{library}\]'"):
        create(f"{library}/resnet18", 10)


def test_a_configuration_of_no_image_classifier(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match="is a gpt2, of which there is no image classifier"):
        create(f"transformers/{tmp_path}", 10)


def test_names_of_libraries_pass_the_check_of_a_recipe() -> None:
    for name in ("timm/resnet18", "torchvision/resnet18", "transformers/some/folder"):
        MODELS.check_name(name)
    with pytest.raises(UserError, match="unknown model 'tim/resnet18'"):
        MODELS.check_name("tim/resnet18")


def test_options_that_determine_the_first_weights_alone_are_not_facts(tmp_path: Path) -> None:
    model = create("timm/resnet10t", 4, pretrained=False, head="new", drop_rate=0.1)
    known = facts(model)
    assert known is not None
    assert dict(known.options) == {"drop_rate": 0.1}
    save_weights(model, tmp_path / "w.safetensors", known.as_metadata())
    twin = create("timm/resnet10t", 4, **known.options)
    load_weights(twin.wrapped, tmp_path / "w.safetensors")
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("head", ["own", "none"])
def test_a_teacher_with_other_classes_or_none_serves_methods_that_read_no_logits(head: str) -> None:
    teacher = create("timm/resnet10t", 10, 3, (32, 32), head=head)
    student, example = create("resnet8", 10), torch.randn(4, 3, 32, 32)
    objective = build_objective(student, teacher, methods=["sp"], example=example)
    assert bool(objective((example, torch.arange(4))).total.isfinite())
    for method in ("kd", "simkd", "srrl"):
        with pytest.raises(
            UserError, match=f"{method}: .*(the teacher has [0-9]+ output classes, the student 10|none)"
        ):
            build_objective(student, teacher, methods=[method], example=example)
