"""Random numbers that each process draws for its own part of a batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class OwnDraws:
    """A second stream of PyTorch's generators, of which each process has another one.

    The processes seed their generators alike, so that what concerns the whole batch is drawn alike. Dropout is drawn
    for the rows of one process: within :meth:`drawn` the generators are in a state of the process's own, and outside of
    it in the common one.
    """

    def __init__(self) -> None:
        self._states: dict[torch.device, Tensor] = {}
        self._seed = 0

    def seed(self, seed: int) -> None:
        """Begins the stream anew.

        Args:
            seed: another one in each process.
        """
        self._states, self._seed = {}, seed

    @contextmanager
    def drawn(self, device: torch.device) -> Iterator[None]:
        """Draws within come from the stream, on the CPU and on this device."""
        generators = [torch.default_generator]
        if device.type == "cuda":
            generators.append(torch.cuda.default_generators[device.index or 0])
        common = [generator.get_state() for generator in generators]
        for generator in generators:
            if generator.device in self._states:
                generator.set_state(self._states[generator.device])
            else:
                generator.manual_seed(self._seed)
        try:
            yield
        finally:
            for generator, state in zip(generators, common, strict=True):
                self._states[generator.device] = generator.get_state()
                generator.set_state(state)
