"""A step on a GPU, recorded once as a CUDA graph and replayed for every further batch of an epoch.

To tell a GPU of an operation takes the CPU longer than many an operation of a small network takes. A graph is told of
at once. What is recorded are the operations with all their numbers, so that learning rate and weights that depend on
the epoch have to stay as they are: every epoch is recorded anew, which takes about as long as two of its steps.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from smskd.types import Batch, FrozenOutputs

_logger = logging.getLogger(__name__)

Train = Callable[[Batch], None]
Doing = Literal["record", "replay"]


class Recorder(Protocol):
    """Records what a function does to the memory of a device, and does that again."""

    def record(self, function: Callable[[], None]) -> None:
        """Raises RuntimeError if the function does what cannot be recorded. It has not been carried out then, and is
        not by recording."""
        ...

    def replay(self) -> None:
        """Does again what was recorded."""
        ...


class CudaRecorder:
    """Records into CUDA graphs, each in the memory of the one before.

    Args:
        generators: what is drawn from beside the default one, asked for at each recording.
    """

    def __init__(self, generators: Callable[[], Iterable[torch.Generator]]) -> None:
        self._generators = generators
        self._graph: torch.cuda.CUDAGraph | None = None

    def record(self, function: Callable[[], None]) -> None:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators():
            if generator.device.type == "cuda":
                graph.register_generator_state(generator)
        # The last graph lives until this one is there: without any, its memory would be given back.
        with torch.cuda.graph(graph, pool=self._graph.pool() if self._graph else None):
            function()
        self._graph = graph

    def replay(self) -> None:
        assert self._graph is not None
        self._graph.replay()


class Recorded:
    """Trains on the batches of an epoch: on the first as it is, which brings about everything that comes up only once;
    on those that are like it by what was recorded on the second; and as it is on a last one that is smaller.

    Args:
        train: on a batch; it may keep nothing of it.
        recorder: records it.
        watch: within what it gives, is recorded and is replayed; it is told which.
    """

    def __init__(
        self, train: Train, recorder: Recorder, watch: Callable[[Doing], AbstractContextManager[None]]
    ) -> None:
        self._train = train
        self._recorder = recorder
        self._watch = watch
        self._like: list[tuple[str, torch.Size, tuple[int, ...], torch.dtype]] | None = None
        self._fixed: Batch | None = None
        self.works = True
        """Whether it can be recorded, as far as was seen."""

    def __call__(self, batch: Batch) -> None:
        """Trains on a batch."""
        like = [(name, value.shape, value.stride(), value.dtype) for name, value in _tensors(batch).items()]
        if self._like is None:
            self._like = like
            self._train(batch)
        elif like != self._like or not (self._fixed or self._record(batch)):
            self._train(batch)
        else:
            assert self._fixed is not None
            with self._watch("replay"):
                torch._foreach_copy_(list(_tensors(self._fixed).values()), list(_tensors(batch).values()))
                self._recorder.replay()

    def _record(self, batch: Batch) -> bool:
        if self.works:
            fixed = _with(batch, {name: tensor.clone() for name, tensor in _tensors(batch).items()})
            try:
                with self._watch("record"):
                    self._recorder.record(lambda: self._train(fixed))
                self._fixed = fixed
            except RuntimeError as error:
                self.works = False
                _logger.info("steps are not recorded: %s", error)
        return self.works


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """The tensors of a batch on its device."""
    outputs = batch.outputs or FrozenOutputs()
    return {
        "x": batch.x,
        "y": batch.y,
        **({"index": batch.index} if batch.index is not None else {}),
        **{f"view {name}": view for name, view in batch.views.items()},
        **{f"teacher {name}": value for name, value in outputs.teacher.items()},
        **{f"reference {name}": value for name, value in outputs.reference.items()},
    }


def _with(batch: Batch, tensors: dict[str, Tensor]) -> Batch:
    """The batch with other tensors."""

    def named(kind: str, names: Iterable[str]) -> dict[str, Tensor]:
        return {name: tensors[f"{kind} {name}"] for name in names}

    outputs = batch.outputs
    if outputs is not None:
        outputs = FrozenOutputs(named("teacher", outputs.teacher), named("reference", outputs.reference))
    return replace(
        batch,
        x=tensors["x"],
        y=tensors["y"],
        index=tensors.get("index"),
        views=named("view", batch.views),
        outputs=outputs,
    )
