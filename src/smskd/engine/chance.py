"""Where random numbers have got to, so that what was only tried leaves no trace in them."""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


class Chance:
    """The random numbers as they are now: those of torch, numpy and Python, and of generators.

    Args:
        generators: beside the global ones.
    """

    def __init__(self, generators: Iterable[torch.Generator] = ()) -> None:
        own = list(generators)
        self._here = [generator for generator in (torch.default_generator, *own) if generator.device.type == "cpu"]
        self._before = self._states()
        there = [generator for generator in own if generator.device.type == "cuda"]
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            there.append(torch.cuda.default_generators[torch.cuda.current_device()])
        self._there = [(generator, generator.clone_state()) for generator in there]

    @property
    def moved_on_the_cpu(self) -> bool:
        """Whether any was drawn on the CPU since."""
        return self._bytes(self._states()) != self._bytes(self._before)

    def put_back(self) -> None:
        """As if none had been drawn."""
        python, numpy, states = self._before
        random.setstate(python)
        np.random.set_state(numpy)
        for generator, state in zip(self._here, states, strict=True):
            generator.set_state(state)
        # Not set_state: one that a graph was being recorded with would go on to wait for its end.
        for generator, clone in self._there:
            generator.graphsafe_set_state(clone)

    def _states(self) -> tuple[Any, Any, list[torch.Tensor]]:
        return random.getstate(), np.random.get_state(), [generator.get_state() for generator in self._here]

    @staticmethod
    def _bytes(states: tuple[Any, Any, list[torch.Tensor]]) -> tuple[Any, ...]:
        python, (kind, keys, *rest), own = states
        return python, kind, keys.tobytes(), *rest, *(state.numpy().tobytes() for state in own)
