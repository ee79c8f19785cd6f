"""Small networks for 8x8 images of one channel, images for them, and comparison of weights."""

import torch
from torch import Tensor, nn

from smskd.interfaces.features import FeatureModel
from smskd.models import create

CLASSES = 10
SHAPE = (1, 8, 8)
EXAMPLE = torch.zeros(1, *SHAPE)


def images(count: int = 6, seed: int = 3) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def student(seed: int = 1, name: str = "resnet8_w2") -> FeatureModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(name, classes=CLASSES, channels=1, image_size=SHAPE[1:])


def teacher(seed: int = 2, name: str = "resnet8_w4") -> FeatureModel:
    """A network whose batch norms have seen images, so that eval and train mode differ; in train mode."""
    model = student(seed, name).train()
    with torch.no_grad():
        for part in range(3):
            model(images(20, seed=part))
    return model


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict."""
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether keys and values are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
