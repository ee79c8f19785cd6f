"""The seed of a run reaches generators that a network keeps for itself."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import smskd
from tests.support import tiny

KINDS: dict[str, tuple[Callable[[int], Any], Callable[[Any], float]]] = {
    "torch": (lambda seed: torch.Generator().manual_seed(seed), lambda own: float(torch.rand((), generator=own))),
    "numpy": (lambda seed: np.random.default_rng(seed), lambda own: float(own.random())),
    "philox": (lambda seed: np.random.Generator(np.random.Philox(seed)), lambda own: float(own.random())),
    "old numpy": (np.random.RandomState, lambda own: float(own.rand())),
    "random": (random.Random, lambda own: float(own.random())),
}


class Drops(nn.Module):
    """Leaves its layer out by chance, drawn from a generator of its own."""

    def __init__(self, own: Any, draw: Callable[[Any], float]) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)
        self.fc = nn.Linear(64, tiny.CLASSES)
        self.own = own
        self.draw = draw

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.fc(x + self.layer(x) if not self.training or self.draw(self.own) > 0.5 else x)


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_follows_from_the_seed_of_the_run(kind: str) -> None:
    make, draw = KINDS[kind]

    def trained(own_seed: int, seed: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        data = tiny.digits()
        found = smskd.distill(
            student=Drops(make(own_seed), draw),
            teacher=None,
            train=data.train,
            test=data.test,
            stages=[[]],
            epochs=2,
            batch_size=10,
            seed=seed,
            device="cpu",
        )
        return tiny.bits(found.student)

    first = trained(own_seed=1, seed=0)
    assert tiny.same(first, trained(own_seed=2, seed=0))
    assert not tiny.same(first, trained(own_seed=1, seed=1))
