"""The teacher's outputs of a batch, from the cache as far as they are in it, and into it as far as they are not."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from smskd.config.cache import CacheConfig
from smskd.data import mix_tensor
from smskd.data.loaders.batching import coalesced_batches
from smskd.data.loaders.identity import AugmentationSpace
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, SampleKeys
from smskd.interfaces.features import LOGITS, FeatureLayout
from smskd.models.frozen import Frozen
from smskd.teacher_cache import capacity as room
from smskd.teacher_cache.codec import Form, Largest, Whole
from smskd.teacher_cache.key import Key, describe
from smskd.teacher_cache.storage import FileStorage, MemoryStorage, Storage, on

CHUNKS = {"cpu": 16, "cuda": 256}
"""Pictures that the teacher sees at once, by type of device. Always the same number, filled up with black: how sums are
rounded depends on it, and then it does not depend on which pictures happened to be missing."""
CHUNK = 64
"""Of other devices, and of large pictures."""

_PROBE = 2


class Numbering(ABC):
    """Which row holds what."""

    count: int
    """Of rows."""

    @abstractmethod
    def places(self, draw: SampleKeys) -> Tensor | None:
        """The row of each sample, int64 [N]; None where these pictures are not kept."""


class ByVariant(Numbering):
    """A row for each sample and variant."""

    def __init__(self, samples: int, variants: int) -> None:
        self._variants = variants
        self.count = samples * variants

    def places(self, draw: SampleKeys) -> Tensor | None:
        return None if draw.variant is None else draw.index * self._variants + draw.variant


class ByEpoch(Numbering):
    """A row for each epoch and sample."""

    def __init__(self, samples: int, epochs: int) -> None:
        self._samples, self._epochs = samples, epochs
        self.count = samples * epochs

    def places(self, draw: SampleKeys) -> Tensor | None:
        return (draw.epoch - 1) * self._samples + draw.index if 1 <= draw.epoch <= self._epochs else None


class TeacherCache:
    """The logits and pooled features of a frozen teacher, as float16.

    What comes out is rounded to float16 in any case, whether it was in the cache or is only just computed, and what is
    computed does not depend on what else was missing. So a run comes out the same, bit by bit, whatever the cache held
    when it began.

    Args:
        teacher: whose outputs.
        layout: the teacher's.
        outputs: names, of those that :func:`cacheable` finds.
        orbit: the pictures there can be.
        options: how it is kept; not ``off``.
        key: of what is kept on disk; None in memory.
        epochs: of the run, for ``replay``.
        example: a picture [1, channels, height, width] on the device of training.

    Raises:
        UserError: there is no room, or these pictures cannot be kept in this mode.
    """

    def __init__(
        self,
        teacher: Frozen,
        layout: FeatureLayout,
        outputs: Collection[str],
        *,
        augmentation_space: AugmentationSpace,
        options: CacheConfig,
        key: Key | None,
        epochs: int,
        example: Tensor,
    ) -> None:
        self._teacher = teacher
        self._device = example.device
        self._chunk = _chunk(example)
        self._numbering = _numbering(augmentation_space, options, epochs)
        self._forms = {name: _form(name, layout, options) for name in sorted(outputs)}
        self._hits = self._asked = 0
        self._sound = torch.ones((), dtype=torch.bool, device=self._device)
        what = _described(self._forms, augmentation_space, options, epochs)
        if key is None:
            self._records = self._in_memory(options, what)
        else:
            self._records = self._in_files(key.folder(options.path), key, options, what, example, layout)

    def covers(self, names: Collection[str]) -> bool:
        """Whether all of these taps of the teacher are kept; of some only the teacher has to run anyway."""
        return bool(names) and all(name in self._forms for name in names)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def read(self, batch: Batch, names: Collection[str]) -> dict[str, Tensor] | None:
        """The outputs of a batch by name, [N, width] each, in the type of its pictures.

        Only what is missing goes through the teacher. Nothing waits for the device where nothing is missing.

        Args:
            batch: whose pictures.
            names: of outputs, all of them covered.

        Returns:
            None where the batch does not tell which pictures it holds.

        Raises:
            UserError: an output is too large for float16.
        """
        places = None if batch.keys is None else self._numbering.places(batch.keys)
        if batch.keys is None or places is None:
            return None
        pictures = _pictures(batch.keys)
        found = {name: self._records[name].read(places, pictures) for name in sorted(names)}
        present = torch.stack([there for _, there in found.values()]).all(0)
        rows = {
            name: kept if kept.device == self._device else on(kept, self._device) for name, (kept, _) in found.items()
        }
        missing = (~present).nonzero()[:, 0]
        if len(missing):
            where = on(missing, self._device)
            for name, fresh in self._computed(batch.x.index_select(0, where), names).items():
                self._records[name].write(places[missing], pictures[missing], fresh)
                rows[name] = rows[name].index_copy(0, where, fresh)
        self._asked += len(places)
        self._hits += len(places) - len(missing)
        return {name: self._forms[name].unpacked(row).to(batch.x.dtype) for name, row in rows.items()}

    def share_of_hits(self) -> float | None:
        """The share of samples that were in the cache since this was asked last; None if none was looked for.

        Raises:
            UserError: an output was too large for float16.
        """
        self._check()
        share = self._hits / self._asked if self._asked else None
        self._hits = self._asked = 0
        return share

    def _computed(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Rows of the teacher's outputs of pictures."""
        computed = self._outputs(x, names)
        for values in computed.values():
            self._sound &= values.to(torch.float16).isfinite().all()
        if self._device.type == "cpu" or any(isinstance(records, FileStorage) for records in self._records.values()):
            self._check()  # nothing has to be waited for, or is waited for anyway
        return {name: self._forms[name].packed(values) for name, values in computed.items()}

    def _outputs(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The teacher's outputs of pictures, the same numbers whichever pictures are beside them."""
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        for some in torch.split(x, self._chunk):
            chunk = x.new_zeros(self._chunk, *x.shape[1:]).contiguous(memory_format=torch.channels_last)
            chunk[: len(some)] = some
            for name, values in self._teacher.extract(chunk, names).items():
                parts[name].append(values[: len(some)])
        return {name: torch.cat(values) for name, values in parts.items()}

    def _check(self) -> None:
        if not bool(self._sound):
            names = " or ".join(self._forms)
            raise UserError(
                f"the teacher's {names} are not finite, or beyond the 65504 that float16 holds: turn its cache off"
            )

    def _in_memory(self, options: CacheConfig, what: str) -> dict[str, Storage]:
        sizes = [MemoryStorage.size(self._numbering.count, form.width) for form in self._forms.values()]
        room.check_limit(sum(sizes), what, options.limit)
        device = room.memory_device(sum(sizes), what, self._device)
        return {name: MemoryStorage(self._numbering.count, form.width, device) for name, form in self._forms.items()}

    def _in_files(
        self, folder: Path, key: Key, options: CacheConfig, what: str, example: Tensor, layout: FeatureLayout
    ) -> dict[str, Storage]:
        files = {name: folder / f"{_file_name(name)}.rows" for name in self._forms}
        sizes = {name: FileStorage.size(self._numbering.count, form.width) for name, form in self._forms.items()}
        room.check_limit(sum(sizes.values()), what, options.limit)
        room.check_disk([(files[name], sizes[name]) for name in files], what, options.path)
        describe(folder, key, _probe(self._teacher, layout, example))
        return {name: FileStorage(files[name], self._numbering.count, form.width) for name, form in self._forms.items()}


def cacheable(taps: Collection[str], layout: FeatureLayout) -> frozenset[str]:
    """The outputs to keep for a stage with these taps of the teacher: none where a map or another view is among them,
    for which the teacher has to run anyway."""
    return frozenset(taps) if {LOGITS, *_vectors(layout)}.issuperset(taps) else frozenset()


def _chunk(example: Tensor) -> int:
    small = coalesced_batches(example.device, CHUNK, example.shape[1:]) * CHUNK
    most = CHUNKS.get(example.device.type, CHUNK)
    return min(most, small)


def _vectors(layout: FeatureLayout) -> list[str]:
    return [name for name, shape in layout.features.items() if len(shape) == 1]


def _numbering(augmentation_space: AugmentationSpace, options: CacheConfig, epochs: int) -> Numbering:
    if options.mode == "replay":
        return ByEpoch(augmentation_space.samples, epochs)
    if augmentation_space.variants is None:
        raise UserError(
            f"the teacher's cache '{options.mode}' needs pictures of bytes, and the data set gives floats, which its "
            "own transforms made in countless ways: use 'replay', or turn the cache off"
        )
    return ByVariant(augmentation_space.samples, augmentation_space.variants)


def _form(name: str, layout: FeatureLayout, options: CacheConfig) -> Form:
    if name != LOGITS:
        return Whole(layout.features[name][0])
    if options.mode == "replay" and options.top < layout.classes:
        return Largest(layout.classes, options.top)
    return Whole(layout.classes)


def _pictures(draw: SampleKeys) -> Tensor:
    """What says that a row is of this very picture, int64 [N]."""
    variant = torch.zeros_like(draw.index) if draw.variant is None else draw.variant
    return variant if draw.content is None else mix_tensor(draw.content, variant)


def _described(
    forms: Mapping[str, Form], augmentation_space: AugmentationSpace, options: CacheConfig, epochs: int
) -> str:
    times = f"{epochs} epochs" if options.mode == "replay" else f"{augmentation_space.variants} variants"
    return f"the {' and '.join(forms)} of {augmentation_space.samples} pictures in {times}"


def _file_name(output: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in output)


def _probe(teacher: Frozen, layout: FeatureLayout, example: Tensor) -> dict[str, list[list[float]]]:
    noise = torch.randn(_PROBE, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    found = teacher.extract(noise.to(example), (LOGITS, *_vectors(layout)))
    if not all(bool(values.isfinite().all()) for values in found.values()):
        raise UserError("the teacher's outputs are not finite: its weights are damaged")
    return {name: values.float().tolist() for name, values in found.items()}
