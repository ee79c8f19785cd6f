"""A training step captured once an epoch as a CUDA graph and replayed for every further batch.

Launching an operation from the CPU takes longer than many operations of a small network take on the GPU; a graph is
launched at once. A capture holds the operations with all their numbers, so that the learning rate and weights that
depend on the epoch must stay as they are: every epoch is captured anew, which takes about as long as two of its steps.
Python code, and what it counts or draws from step to step, does not run in a replay.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Literal, Protocol

import torch

from smskd.data.loaders.batching import mapped, tensors
from smskd.interfaces.batch import Batch
from smskd.training.rng import RngSnapshot
from smskd.turns import held

_logger = logging.getLogger(__name__)

Train = Callable[[Batch], None]
Phase = Literal["capture", "replay"]


class Graph(Protocol):
    """Captures the operations of a function on a device, and replays them."""

    def capture(self, function: Callable[[], None]) -> None:
        """Captures a function without carrying it out.

        Raises:
            Exception: the function does something that cannot be captured. Nothing of it has been carried out.
        """
        ...

    def replay(self) -> None:
        """Carries out the captured operations."""
        ...


class CudaGraph:
    """CUDA graphs, each in the memory pool of the one before.

    Args:
        generators: that random numbers are drawn from beside the default one, asked for at each capture.
    """

    def __init__(self, generators: Callable[[], Iterable[torch.Generator]]) -> None:
        self._generators = generators
        self._graph: torch.cuda.CUDAGraph | None = None

    def capture(self, function: Callable[[], None]) -> None:
        """See :meth:`Graph.capture`. The random state is as before if it fails."""
        with held():
            self._capture(function)

    def _capture(self, function: Callable[[], None]) -> None:
        generators = list(self._generators())
        rng = RngSnapshot(generators)
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            if generator.device.type == "cuda":
                graph.register_generator_state(generator)
        try:
            # The previous graph lives until this one exists: without any, its memory pool would be freed. Operations of
            # other threads, such as a loader's that pins memory, are not captured.
            pool = self._graph.pool() if self._graph else None
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                function()
            if rng.moved_on_the_cpu:
                raise RuntimeError("random numbers are drawn on the CPU, which a replay would not repeat")
        except Exception:
            with suppress(RuntimeError):
                graph.reset()
            rng.restore()
            raise
        self._graph = graph

    def replay(self) -> None:
        """See :meth:`Graph.replay`."""
        assert self._graph is not None
        self._graph.replay()


class GraphedStep:
    """Trains on the batches of an epoch: on the first eagerly, which initialises everything that is made only once; on
    those of the same format by a capture of the second; and eagerly on a smaller last one.

    Args:
        train: on a batch; it may keep nothing of it.
        graph: captures and replays it.
        watch: a context for the capture and for each replay.
    """

    def __init__(self, train: Train, graph: Graph, watch: Callable[[Phase], AbstractContextManager[None]]) -> None:
        self._train = train
        self._graph = graph
        self._watch = watch
        self._format: list[tuple[torch.Size, tuple[int, ...], torch.dtype]] | None = None
        self._static: Batch | None = None
        self.refusal: str | None = None
        """Why the step cannot be captured, as far as has been tried."""

    @property
    def works(self) -> bool:
        """Whether the step can be captured, as far as has been tried."""
        return self.refusal is None

    def __call__(self, batch: Batch) -> None:
        """Trains on a batch."""
        batch_format = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors(batch)]
        if self._format is None:
            self._format = batch_format
            self._train(batch)
        elif batch_format != self._format or not (self._static or self._capture(batch)):
            self._train(batch)
        else:
            assert self._static is not None
            with self._watch("replay"):
                torch._foreach_copy_(tensors(self._static), tensors(batch))
                self._graph.replay()

    def _capture(self, batch: Batch) -> bool:
        if self.works:
            static = mapped(batch, torch.clone)
            try:
                with self._watch("capture"):
                    self._graph.capture(lambda: self._train(static))
                self._static = static
            except Exception as error:  # capturing is optional; the eager step raises its own mistakes
                self.refusal = (str(error).strip() or type(error).__name__).splitlines()[0]
                _logger.info("steps are not captured: %s", error)
        return self.works
