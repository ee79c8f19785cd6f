"""Features of networks of timm, torchvision and transformers are those that the libraries give themselves."""

from typing import Any, cast

import pytest
import torch
import transformers
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from smskd.interfaces.features import FeatureModel
from smskd.models import adapt, describe
from tests.support.architectures import ARCHITECTURES, network


def pair(name: str) -> tuple[nn.Module, FeatureModel, Tensor]:
    size = ARCHITECTURES[name].size
    module = network(name).eval()
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    return module, adapt(module, x[:1]), x


def named(prefix: str) -> list[str]:
    return [name for name in ARCHITECTURES if name.startswith(prefix)]


@pytest.mark.parametrize("name", named("timm/"))
@torch.no_grad()
def test_timm(name: str) -> None:
    module, model, x = pair(name)
    timm = cast(Any, module)
    final, outputs = timm.forward_intermediates(x)
    order = [feature for feature in model.feature_names if "." not in feature][: len(outputs)]
    read = model.extract(x, [*order, "pooled", "logits"])
    for feature, output in zip(order, outputs, strict=True):
        assert torch.equal(read[feature], output), feature
    torch.testing.assert_close(read["pooled"], timm.forward_head(final, pre_logits=True).flatten(1))
    torch.testing.assert_close(read["logits"], module(x))
    assert not any(torch.equal(read["pooled"], read[other]) for other in ("logits",))
    alone = model.extract(x, [order[0]])[order[0]]
    assert torch.equal(alone, outputs[0]), "nothing deeper is needed"


@pytest.mark.parametrize("name", ["timm/vit_registers", "timm/deit_distilled"])
@torch.no_grad()
def test_tokens_of_timm_without_and_in_front_of_the_patches(name: str) -> None:
    module, model, x = pair(name)
    (_, plain) = cast(Any, module).forward_intermediates(x, output_fmt="NLC", return_prefix_tokens=True)
    read = model.extract(x, ["block2", "block2.tokens", "block2.prefix"])
    assert torch.equal(read["block2.tokens"], plain[1][0])
    assert torch.equal(read["block2.prefix"], plain[1][1])
    assert torch.equal(read["block2"].flatten(2).transpose(1, 2), plain[1][0])


CHANNELS_LAST = ("torchvision/swin",)


@pytest.mark.parametrize("name", [name for name in named("torchvision/") if not name.endswith("/vit")])
@torch.no_grad()
def test_torchvision(name: str) -> None:
    module, model, x = pair(name)
    layout = describe(model, (3, *x.shape[2:]))
    places = {stage: model.sources[stage] for stage in layout.stages}
    own = create_feature_extractor(module, {place: stage for stage, place in places.items()})(x)
    for stage, value in model.extract(x, layout.stages).items():
        expected = own[stage].permute(0, 3, 1, 2) if name in CHANNELS_LAST else own[stage]
        if places[stage] == "features" and "densenet" in name:
            expected = expected.relu()  # in place, by the network itself
        assert torch.equal(value, expected), stage


@torch.no_grad()
def test_the_vision_transformer_of_torchvision() -> None:
    module, model, x = pair("torchvision/vit")
    place = "encoder.layers.encoder_layer_1"
    tokens = create_feature_extractor(module, [place])(x)[place]
    read = model.extract(x, ["block2", "block2.tokens", "block2.prefix"])
    assert torch.equal(read["block2.tokens"], tokens[:, 1:])
    assert torch.equal(read["block2.prefix"], tokens[:, :1])
    assert torch.equal(read["block2"][:, :, 1, 2], tokens[:, 1 + 4 + 2]), "row 1, column 2"


@pytest.mark.parametrize("name", ["transformers/ViT", "transformers/DeiT"])
@torch.no_grad()
def test_tokens_of_transformers(name: str) -> None:
    module, model, x = pair(name)
    states = cast(Any, module)(x, output_hidden_states=True).hidden_states
    prefix = states[-1].shape[1] - 16
    assert prefix == {"transformers/ViT": 1, "transformers/DeiT": 2}[name]
    for number, state in enumerate(states[1:], start=1):
        assert torch.equal(model.extract(x, [f"block{number}.tokens"])[f"block{number}.tokens"], state[:, prefix:])


@pytest.mark.parametrize("name", ["transformers/ConvNext", "transformers/ResNet"])
@torch.no_grad()
def test_maps_of_transformers(name: str) -> None:
    module, model, x = pair(name)
    states = cast(Any, module)(x, output_hidden_states=True).hidden_states
    read = model.extract(x, ["stem", "stage1", "stage2", "stage3", "stage4"])
    assert all(torch.equal(value, state) for value, state in zip(read.values(), states, strict=True))


@torch.no_grad()
def test_the_maps_of_swin_before_the_merging() -> None:
    module, model, x = pair("transformers/Swin")
    encoder = cast(Any, module).swin
    embedded, size = encoder.embeddings(x)
    own = encoder.encoder(embedded, size, output_hidden_states=True, output_hidden_states_before_downsampling=True)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    read = model.extract(x, stages)
    for stage, state in zip(stages, own.reshaped_hidden_states[1:], strict=True):
        assert torch.equal(read[stage], state), stage


def test_the_main_logits_count_where_train_mode_returns_auxiliary_ones() -> None:
    module, model, x = pair("torchvision/googlenet")
    model.train()
    read = model.extract(x, ["stage1", "logits"])
    assert read["logits"].shape == (2, 5)
    assert isinstance(module(x), tuple)


def test_a_compiled_network_keeps_its_features() -> None:
    module, model, x = pair("torchvision/resnet18")
    wrapped = adapt(torch.compile(module), x)
    assert wrapped.wrapped is module
    assert wrapped.sources == model.sources
    module.compile()
    again = adapt(module, x)
    assert again.sources == model.sources
    assert again.extract(x, ["stage2"])["stage2"].shape == (2, 128, 8, 8)


def test_gradients_reach_the_network_through_every_kind_of_feature() -> None:
    module, model, x = pair("timm/vit_registers")
    names = ["block1", "block2.tokens", "block2.prefix", "last_map", "pooled", "logits"]
    for name in names:
        module.zero_grad()
        model.extract(x, [name])[name].square().sum().backward()
        patches = cast(Any, module).patch_embed.proj.weight
        assert bool(patches.grad.any()), name


def made(name: str, **options: Any) -> nn.Module:
    config = getattr(transformers, f"{name}Config")(num_labels=5, **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module: nn.Module = getattr(transformers, f"{name}ForImageClassification")(config)
    return module.eval()


FOUR = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 2, 1]}


@pytest.mark.parametrize(
    "module",
    [
        made("PvtV2", **FOUR, num_attention_heads=[1, 1, 1, 1]),
        made("RegNet", **FOUR, embedding_size=8, groups_width=8),
    ],
    ids=["tokens in nested tuples", "activations at the end of each stage"],
)
@torch.no_grad()
def test_stages_of_transformers_are_its_hidden_states(module: nn.Module) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    states = cast(Any, module)(x, output_hidden_states=True).hidden_states
    read = adapt(module, x).extract(x, ["stage1", "stage2", "stage3", "stage4"])
    assert all(torch.equal(value, state) for value, state in zip(read.values(), states[-4:], strict=True))


def test_tokens_in_another_order_than_rows_and_columns_are_no_maps() -> None:
    module = made("Hiera", image_size=[64, 64], embed_dim=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8])
    assert adapt(module, torch.zeros(1, 3, 64, 64)).feature_names == ("pooled",)


@torch.no_grad()
def test_the_patches_of_a_vision_tower() -> None:
    vision = {"image_size": 64, "patch_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    module = made("Siglip", vision_config=vision, text_config={"num_hidden_layers": 1, "vocab_size": 8})
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    states = cast(Any, module)(x, output_hidden_states=True).hidden_states
    read = adapt(module, x).extract(x, ["block1.tokens", "block2.tokens"])
    assert all(torch.equal(value, state) for value, state in zip(read.values(), states[1:], strict=True))


def test_a_convolution_as_the_last_layer_is_read_as_a_linear_one() -> None:
    module, model, x = pair("timm/resnetv2")
    layer = cast(Any, module).get_classifier()
    assert isinstance(layer, nn.Conv2d)
    assert model.classifier is not None
    assert model.classifier.weight.data_ptr() == layer.weight.data_ptr()
    read = model.extract(x, ["pooled", "logits"])
    torch.testing.assert_close(model.classifier(read["pooled"]), read["logits"])
    read["logits"].sum().backward()
    assert layer.weight.grad is not None, "the student's own layer computes its logits"
