"""A step on a GPU, recorded once as a CUDA graph and replayed for every further batch of an epoch.

To tell a GPU of an operation takes the CPU longer than many an operation of a small network takes. A graph is told of
at once. What is recorded are the operations with all their numbers, so that learning rate and weights that depend on
the epoch have to stay as they are: every epoch is recorded anew, which takes about as long as two of its steps. What
Python counts, or draws, from step to step stands still in a replay.
"""

import logging
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal, Protocol

import numpy as np
import torch

from smskd.data.loaders.batching import mapped, tensors
from smskd.interfaces.batch import Batch


class RngSnapshot:
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

    def restore(self) -> None:
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


_logger = logging.getLogger(__name__)


Train = Callable[[Batch], None]


Doing = Literal["record", "replay"]


class Capture(Protocol):
    """Records what a function does to the memory of a device, and does that again."""

    def record(self, function: Callable[[], None]) -> None:
        """Raises RuntimeError if the function does what cannot be recorded. It has not been carried out then, and is
        not by recording."""
        ...

    def replay(self) -> None:
        """Does again what was recorded."""
        ...


class CudaGraphCapture:
    """Records into CUDA graphs, each in the memory of the one before.

    Args:
        generators: what is drawn from beside the default one, asked for at each recording.
    """

    def __init__(self, generators: Callable[[], Iterable[torch.Generator]]) -> None:
        self._generators = generators
        self._graph: torch.cuda.CUDAGraph | None = None

    def record(self, function: Callable[[], None]) -> None:
        generators = list(self._generators())
        chance = RngSnapshot(generators)
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            if generator.device.type == "cuda":
                graph.register_generator_state(generator)
        try:
            # The last graph lives until this one is there: without any, its memory would be given back. And what other
            # threads do, such as a loader's that pins memory, is no part of it.
            pool = self._graph.pool() if self._graph else None
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                function()
            if chance.moved_on_the_cpu:
                raise RuntimeError("random numbers are drawn on the CPU, which a replay would not do")
        except RuntimeError:
            with suppress(RuntimeError):
                graph.reset()
            chance.restore()
            raise
        self._graph = graph

    def replay(self) -> None:
        assert self._graph is not None
        self._graph.replay()


class GraphedStep:
    """Trains on the batches of an epoch: on the first as it is, which brings about everything that comes up only once;
    on those that are like it by what was recorded on the second; and as it is on a last one that is smaller.

    Args:
        train: on a batch; it may keep nothing of it.
        recorder: records it.
        watch: within what it gives, is recorded and is replayed; it is told which.
    """

    def __init__(self, train: Train, recorder: Capture, watch: Callable[[Doing], AbstractContextManager[None]]) -> None:
        self._train = train
        self._recorder = recorder
        self._watch = watch
        self._like: list[tuple[torch.Size, tuple[int, ...], torch.dtype]] | None = None
        self._fixed: Batch | None = None
        self.works = True
        """Whether it can be recorded, as far as was seen."""

    def __call__(self, batch: Batch) -> None:
        """Trains on a batch."""
        like = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors(batch)]
        if self._like is None:
            self._like = like
            self._train(batch)
        elif like != self._like or not (self._fixed or self._record(batch)):
            self._train(batch)
        else:
            assert self._fixed is not None
            with self._watch("replay"):
                torch._foreach_copy_(tensors(self._fixed), tensors(batch))
                self._recorder.replay()

    def _record(self, batch: Batch) -> bool:
        if self.works:
            fixed = mapped(batch, torch.clone)
            try:
                with self._watch("record"):
                    self._recorder.record(lambda: self._train(fixed))
                self._fixed = fixed
            except RuntimeError as error:
                self.works = False
                _logger.info("steps are not recorded: %s", error)
        return self.works
