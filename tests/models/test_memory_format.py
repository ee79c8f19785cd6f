"""Training on a CPU in the memory format that is given does not damage memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from smskd.models import create
from smskd.models.memory_format import safe_memory_format

HEAP_CHECKS = Path("/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")
"""Since version 2.34 glibc checks the heap with this library alone."""

TRAINING = """
import sys
import torch
from torch import nn
from smskd.models.memory_format import safe_memory_format
from smskd.models.zoo.resnet import ResNet
from smskd.models.zoo.resnet50 import ResNet50

def own(width):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2 * width, 1, stride=2, bias=False),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10))

def zoo(width):
    return ResNet(8, stem=width, widths=(width, 2 * width, 4 * width), classes=10, channels=1)

networks = {
    "own": [own(2), own(6)],
    "zoo": [zoo(2), zoo(6), ResNet50(10, 1, width=2)],
}[sys.argv[1]]
torch.set_num_threads(1)
x, y = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
for network in networks:
    memory_format = safe_memory_format(network, "cpu")
    assert (memory_format == torch.channels_last) == (sys.argv[1] == "zoo"), memory_format
    network.to(memory_format=memory_format)
    images = x.contiguous(memory_format=memory_format)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(100 if sys.argv[1] == "own" else 25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), y).backward()
        optimizer.step()
print("trained")
"""


@pytest.mark.parametrize("networks", ["own", "zoo"])
def test_training_leaves_the_heap_whole(networks: str) -> None:
    checks = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    if HEAP_CHECKS.exists():
        checks["LD_PRELOAD"] = str(HEAP_CHECKS)
    trained = subprocess.run(
        [sys.executable, "-c", TRAINING, networks],
        env={**os.environ, **checks},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (trained.returncode, trained.stdout) == (0, "trained\n"), trained.stderr


@pytest.mark.parametrize(
    ("layer", "device", "contiguous"),
    [
        (nn.Conv2d(15, 4, 1, stride=2), "cpu", True),
        (nn.Conv2d(3, 4, 1, stride=(1, 2)), "cpu", True),
        (nn.Conv2d(3, 4, 1, stride=2), "cuda:0", False),
        (nn.Conv2d(16, 4, 1, stride=2), "cpu", False),
        (nn.Conv2d(4, 4, 1, stride=2, groups=2), "cpu", False),
        (nn.Conv2d(4, 4, 3, stride=2), "cpu", False),
        (nn.Conv2d(4, 4, 1), "cpu", False),
        (create("resnet8_w2"), "cpu", False),
    ],
)
def test_which_layers_need_the_contiguous_format(layer: nn.Module, device: str, contiguous: bool) -> None:
    expected = torch.contiguous_format if contiguous else torch.channels_last
    assert safe_memory_format(nn.Sequential(nn.ReLU(), layer), device) == expected
    assert safe_memory_format(layer, torch.device(device)) == expected
