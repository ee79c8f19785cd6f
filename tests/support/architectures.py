"""Small networks of about thirty architectures of timm, torchvision and transformers, with fresh weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
import transformers
from torch import nn

from tests.support.trained import as_if_trained

CLASSES = 5
SIZE = 64
_IMAGES = 8


@dataclass(frozen=True)
class Architecture:
    """A way to make a network, and the size of its images."""

    make: Callable[[], nn.Module]
    size: int = SIZE


def network(name: str) -> nn.Module:
    """The network of an architecture, the same in each call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ARCHITECTURES[name].make()


def trained_network(name: str) -> nn.Module:
    """:func:`network`, with statistics and weights as those of a trained network, the same in each call."""
    size = ARCHITECTURES[name].size
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return as_if_trained(ARCHITECTURES[name].make(), torch.randn(_IMAGES, 3, size, size))


def _timm(name: str, **options: Any) -> Architecture:
    return Architecture(lambda: timm.create_model(name, num_classes=CLASSES, **options))


def _torchvision(name: str, size: int = SIZE, **options: Any) -> Architecture:
    return Architecture(lambda: torchvision.models.get_model(name, num_classes=CLASSES, **options), size)


def _transformers(name: str, **options: Any) -> Architecture:
    def make() -> nn.Module:
        config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **options)
        model: nn.Module = getattr(transformers, f"{name}ForImageClassification")(config)
        return model

    return Architecture(make)


def _timm_vgg(width: int) -> nn.Module:
    """VGG-11 of timm with layers in front of the last one of another width than 4096, for the same reason."""
    model: Any = timm.create_model("vgg11", num_classes=0)
    model.pre_logits = timm.models.vgg.ConvMlp(512, width, 7)
    model.head.in_features = width
    model.reset_classifier(CLASSES)
    made: nn.Module = model
    return made


def _vgg(width: int) -> nn.Module:
    """VGG-11 of torchvision with linear layers of another width than 4096, whose weights would fill 400 MB."""
    model = torchvision.models.vgg11_bn(num_classes=CLASSES, init_weights=False)
    layers = list(model.classifier)
    sizes = iter(((512 * 49, width), (width, width), (width, CLASSES)))
    model.classifier = nn.Sequential(
        *(nn.Linear(*next(sizes)) if isinstance(part, nn.Linear) else part for part in layers)
    )
    return model


_BLOCKS = {"img_size": SIZE, "depth": 4, "embed_dim": 32, "num_heads": 2}
_TOKENS = {
    "image_size": SIZE,
    "patch_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "timm/resnet18": _timm("resnet18", layers=[1, 1, 1, 1], channels=[16, 32, 64, 128]),
    "timm/resnetv2": _timm("resnetv2_50", layers=[1, 1, 1, 1], channels=(16, 32, 64, 128), stem_chs=16),
    "timm/convnext": _timm("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 32, 64)),
    "timm/efficientnet": _timm("efficientnet_lite0"),
    "timm/mobilenetv3": _timm("mobilenetv3_small_050"),
    "timm/regnet": _timm("regnetx_002"),
    "timm/densenet": _timm("densenet121", growth_rate=8, block_config=(2, 2, 2, 2)),
    "timm/vgg": Architecture(lambda: _timm_vgg(width=64)),
    "timm/vit": _timm("vit_tiny_patch16_224", **_BLOCKS),
    "timm/vit_average": _timm("vit_tiny_patch16_224", **_BLOCKS, class_token=False, global_pool="avg"),
    "timm/vit_registers": _timm("vit_tiny_patch16_224", **_BLOCKS, reg_tokens=4),
    "timm/deit_distilled": _timm("deit_tiny_distilled_patch16_224", **_BLOCKS),
    "timm/swin": _timm(
        "swin_tiny_patch4_window7_224", img_size=SIZE, embed_dim=16, depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2)
    ),
    "timm/cait": _timm("cait_xxs24_224", **_BLOCKS),
    "timm/xcit": _timm("xcit_nano_12_p16_224", **_BLOCKS),
    "timm/edgenext": _timm("edgenext_xx_small"),
    "timm/pvt_v2": _timm("pvt_v2_b0"),
    "timm/mixer": _timm("mixer_s32_224", img_size=SIZE),
    "timm/levit": _timm("levit_128s", img_size=SIZE),
    "timm/maxvit": _timm("maxvit_rmlp_pico_rw_256", img_size=SIZE),
    "torchvision/resnet18": _torchvision("resnet18"),
    "torchvision/vgg11": Architecture(lambda: _vgg(width=64)),
    "torchvision/densenet": Architecture(lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=CLASSES)),
    "torchvision/mobilenet_v3": _torchvision("mobilenet_v3_small"),
    "torchvision/efficientnet": _torchvision("efficientnet_b0"),
    "torchvision/convnext": Architecture(
        lambda: torchvision.models.ConvNeXt(
            [
                torchvision.models.convnext.CNBlockConfig(*widths, 1)
                for widths in ((8, 16), (16, 32), (32, 64), (64, None))
            ],
            num_classes=CLASSES,
        )
    ),
    "torchvision/swin": Architecture(
        lambda: torchvision.models.SwinTransformer([4, 4], 16, [1, 1, 1, 1], [2, 2, 2, 2], [2, 2], num_classes=CLASSES)
    ),
    "torchvision/vit": Architecture(
        lambda: torchvision.models.VisionTransformer(SIZE, 16, 4, 2, 32, 64, num_classes=CLASSES)
    ),
    "torchvision/inception_v3": _torchvision("inception_v3", 96, init_weights=False, aux_logits=False),
    "torchvision/googlenet": _torchvision("googlenet", init_weights=False),
    "torchvision/shufflenet": _torchvision("shufflenet_v2_x0_5"),
    "torchvision/mnasnet": _torchvision("mnasnet0_5"),
    "transformers/ViT": _transformers("ViT", **_TOKENS),
    "transformers/DeiT": _transformers("DeiT", **_TOKENS),
    "transformers/Swin": _transformers(
        "Swin", image_size=SIZE, embed_dim=16, depths=[1, 1, 2, 1], num_heads=[2, 2, 2, 2], window_size=2
    ),
    "transformers/PvtV2": _transformers(
        "PvtV2", hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1]
    ),
    "transformers/ConvNext": _transformers("ConvNext", hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 2, 1]),
    "transformers/ResNet": _transformers(
        "ResNet", embedding_size=8, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], layer_type="basic"
    ),
}
