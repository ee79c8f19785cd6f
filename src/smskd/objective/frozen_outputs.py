"""The frozen networks of a stage, teacher and reference, with the cache of the teacher's outputs."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace

from torch import Tensor

from smskd.data.loaders.batching import BatchGroup, split
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.features import Tap
from smskd.models.frozen import Frozen
from smskd.objective.tapped_features import for_teacher, read, read_teacher
from smskd.teacher_cache import TeacherCache
from smskd.timing import Clock


class FrozenNetworks:
    """Computes, or looks up, the outputs of teacher and reference that the terms of a stage read.

    Args:
        teacher: None where there is none.
        reference: likewise.
        teacher_taps: what is read of the teacher. It is not run where that is nothing.
        reference_taps: what is read of the reference, likewise.
        cache: of the teacher's outputs; used where it covers all that is read.
        clock: times both networks.
    """

    def __init__(
        self,
        teacher: Frozen | None,
        reference: Frozen | None,
        teacher_taps: Collection[Tap],
        reference_taps: Collection[Tap],
        cache: TeacherCache | None,
        clock: Clock,
    ) -> None:
        self._teacher = teacher
        self._reference = reference
        self._teacher_taps = frozenset(teacher_taps)
        self._reference_taps = frozenset(reference_taps)
        names = {str(tap) for tap in self._teacher_taps}
        self._cache = cache if cache is not None and cache.covers(names) else None
        self._clock = clock

    @property
    def cached(self) -> bool:
        """Whether the teacher's outputs come from a cache."""
        return self._cache is not None

    @property
    def reads_teacher(self) -> bool:
        """Whether anything of the teacher is read."""
        return self._teacher is not None and bool(self._teacher_taps)

    @property
    def sees_images_alone(self) -> bool:
        """Whether the outputs for an image do not depend on the other images of the batch."""
        networks = [
            network
            for network, taps in ((self._teacher, self._teacher_taps), (self._reference, self._reference_taps))
            if network is not None and taps
        ]
        return all(network.sees_images_alone for network in networks)

    def forward(self, batch: Batch) -> FrozenOutputs:
        """The outputs for a batch."""
        part = self._clock.part
        with part("teacher") if self._teacher_taps else nullcontext():
            teacher = self._teacher_outputs(batch)
        if self._reference is None or not self._reference_taps:
            return FrozenOutputs(teacher)
        with part("reference"):
            return FrozenOutputs(teacher, read(self._reference, batch, self._reference_taps))

    def _teacher_outputs(self, batch: Batch) -> dict[Tap, Tensor]:
        if self._teacher is None or not self._teacher_taps:
            return {}
        if self._cache is not None:
            found = self._cache.read(for_teacher(batch), {str(tap) for tap in self._teacher_taps})
            if found is not None:
                return {tap: found[str(tap)] for tap in self._teacher_taps}
        return read_teacher(self._teacher, batch, self._teacher_taps)


def precompute(groups: Iterable[BatchGroup], forward: Callable[[Batch], FrozenOutputs]) -> Iterator[Batch]:
    """The batches of an epoch with the outputs of the frozen networks, which are run once for each group.

    Args:
        groups: coalesced batches.
        forward: gives the outputs of the frozen networks, each image by itself.
    """
    for group in groups:
        batch = replace(group.batch, outputs=forward(group.batch))
        yield from split(replace(group, batch=batch))
