"""Random numbers: seeding all generators, and putting back where they had got to."""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from smskd.data import mix
from smskd.distributed.processes import Processes


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, numpy and torch, on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_processes(seed: int, network: nn.Module, processes: Processes) -> None:
    """Seeds the global generators alike in all processes, and what a network draws for each row differently.

    Args:
        seed: of an epoch.
        network: whose own generators are seeded.
        processes: that train together.
    """
    seed_everything(seed)
    own = seed if processes.alone else mix(seed, processes.rank)
    seed_kept(network, own)
    processes.draws.seed(own)


def seed_kept(module: nn.Module, seed: int) -> None:
    """Seeds the generators that modules keep as attributes, of torch, numpy and ``random``, each differently.

    Generators within containers, and those that a function holds, are not found.

    Args:
        module: the network.
        seed: from which the seeds of all of them follow.
    """
    values = [value for part in module.modules() for value in vars(part).values()]
    kept = {id(value): value for value in values if isinstance(value, _GENERATORS)}
    for number, generator in enumerate(kept.values()):
        own = mix(seed, number)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(own)
        elif isinstance(generator, np.random.Generator):
            bits: Any = generator.bit_generator
            bits.state = type(bits)(own).state
        else:
            generator.seed(own % 2**32)


_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def generators_of(module: nn.Module) -> list[torch.Generator]:
    """The generators that modules keep for themselves, in their attribute ``generator``."""
    found = (getattr(part, "generator", None) for part in module.modules())
    return [generator for generator in found if isinstance(generator, torch.Generator)]


class RngSnapshot:
    """The states of the random number generators of torch, numpy and Python, and of further ones.

    Args:
        generators: beside the global ones.
    """

    def __init__(self, generators: Iterable[torch.Generator] = ()) -> None:
        own = list(generators)
        self._here = [generator for generator in (torch.default_generator, *own) if generator.device.type == "cpu"]
        self._before = self._states()
        there = [generator for generator in own if generator.device.type == "cuda"]
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            there.extend(torch.cuda.default_generators)
        self._there = [(generator, generator.clone_state()) for generator in there]

    @property
    def moved_on_the_cpu(self) -> bool:
        """Whether a random number was drawn on the CPU since."""
        return self._bytes(self._states()) != self._bytes(self._before)

    def restore(self) -> None:
        """Puts the states back."""
        python, numpy, states = self._before
        random.setstate(python)
        np.random.set_state(numpy)
        for generator, state in zip(self._here, states, strict=True):
            generator.set_state(state)
        # Not set_state: a generator that was registered with a graph under capture would wait for the end of it.
        for generator, clone in self._there:
            generator.graphsafe_set_state(clone)

    def _states(self) -> tuple[Any, Any, list[torch.Tensor]]:
        return random.getstate(), np.random.get_state(), [generator.get_state() for generator in self._here]

    @staticmethod
    def _bytes(states: tuple[Any, Any, list[torch.Tensor]]) -> tuple[Any, ...]:
        python, (kind, keys, *rest), own = states
        return python, kind, keys.tobytes(), *rest, *(state.numpy().tobytes() for state in own)
