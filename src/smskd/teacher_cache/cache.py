"""The teacher's outputs for a batch: looked up, or computed and kept."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from smskd.config.cache import CacheConfig
from smskd.data.loaders.identity import AugmentationSpace
from smskd.data.transfer import to_device
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, SampleKeys
from smskd.interfaces.features import LOGITS, FeatureLayout
from smskd.interfaces.inputs import Inputs, device_of, dtype_of, take
from smskd.models.frozen import Frozen
from smskd.teacher_cache import capacity
from smskd.teacher_cache.chunks import chunk_size, extract_in_chunks
from smskd.teacher_cache.codec import Codec, codec_of
from smskd.teacher_cache.folder import ROWS, Probe, open_folder
from smskd.teacher_cache.key import Key
from smskd.teacher_cache.record_index import image_ids, record_index
from smskd.teacher_cache.storage import FileStorage, MemoryStorage, Storage

_PROBE_IMAGES = 2


class OutputsNotFiniteError(UserError):
    """Outputs of the teacher are NaN or infinite, as they are or as float16."""


class TeacherCache:
    """The logits and pooled features of a frozen teacher, as float16.

    Outputs are rounded to float16 whether they were in the cache or have just been computed, and the computed ones do
    not depend on which others were missing. So the result of a run is the same, bit for bit, whatever the cache held
    when it began.

    Args:
        teacher: whose outputs are kept.
        layout: the teacher's.
        outputs: names, from :func:`cacheable`.
        augmentation_space: all the images that the loader can produce.
        options: mode, folder and limit; the mode is not ``off``.
        key: of the outputs on disk; None: they are kept in memory.
        epochs: of the run, for ``replay``.
        example: an image [1, channels, height, width], or samples of several tensors by name, on the device of
            training.

    Raises:
        UserError: the cache exceeds its limit, the memory or the disk; its folder cannot be written; or these images
            cannot be kept in this mode.
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
        example: Inputs,
    ) -> None:
        self._teacher = teacher
        self._device = device_of(example)
        self._example = example
        self._padding = dict(augmentation_space.padding)
        self._chunk = chunk_size(example)
        self._index = record_index(augmentation_space, options, epochs)
        self._codecs = {name: codec_of(name, layout, options) for name in sorted(outputs)}
        self._hits = self._lookups = 0
        self._unwritable: set[str] = set()
        self.notes: list[str] = []
        """A sentence for everything that the cache did without."""
        self._all_finite = torch.ones((), dtype=torch.bool, device=self._device)
        content = _content(self._codecs, augmentation_space, options, epochs)
        if key is None:
            self._storages = self._in_memory(options, content)
        else:
            self._storages = self._in_files(key, options, content, layout, example)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that are kept."""
        return tuple(self._codecs)

    @property
    def keeps_all(self) -> bool:
        """Whether all outputs could be written so far."""
        return not self._unwritable

    @property
    def chunk(self) -> int:
        """Number of images that the teacher is given at once."""
        return self._chunk

    def share_of(self, keys: SampleKeys) -> float:
        """The share of these images whose outputs are all in the cache; 0 where they are not among those kept."""
        records = self._index.records(keys)
        if records is None:
            return 0.0
        images = image_ids(keys)
        valid = torch.stack([storage.read(records, images)[1] for storage in self._storages.values()]).all(0)
        return float(valid.double().mean())

    def forget(self) -> None:
        """Empties a cache in memory, and leaves out that an output was not finite; files have finite outputs alone."""
        self._all_finite.fill_(True)
        self._hits = self._lookups = 0
        for storage in self._storages.values():
            if isinstance(storage, MemoryStorage):
                storage.forget()

    def covers(self, names: Collection[str]) -> bool:
        """Whether all of these taps of the teacher are kept; otherwise the teacher has to run anyway."""
        return bool(names) and all(name in self._codecs for name in names)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def read(self, batch: Batch, names: Collection[str]) -> dict[str, Tensor] | None:
        """The outputs for a batch by name, [N, width] each, in the dtype of its images.

        The teacher is run on the missing images only. Where none is missing, nothing synchronises with the device.

        Args:
            batch: of images.
            names: of outputs, all of them covered.

        Returns:
            None where the batch has no ``keys``, or its images are not among those that are kept.

        Raises:
            UserError: an output exceeds the range of float16.
        """
        records = None if batch.keys is None else self._index.records(batch.keys)
        if batch.keys is None or records is None:
            return None
        images = image_ids(batch.keys)
        found = {name: self._storages[name].read(records, images) for name in sorted(names)}
        valid = torch.stack([own for _, own in found.values()]).all(0)
        rows = {
            name: to_device(row, self._device) if row.device != self._device else row
            for name, (row, _) in found.items()
        }
        missing = (~valid).nonzero()[:, 0]
        if len(missing):
            positions = to_device(missing, self._device)
            for name, computed in self._computed_rows(take(batch.x, positions), names).items():
                self._keep(name, records[missing], images[missing], computed)
                rows[name] = rows[name].index_copy(0, positions, computed)
        self._lookups += len(records)
        self._hits += len(records) - len(missing)
        return {name: self._codecs[name].unpack(row).to(dtype_of(batch.x)) for name, row in rows.items()}

    def share_of_hits(self) -> float | None:
        """The share of samples that were in the cache since the last call; None if none was looked up.

        Raises:
            UserError: an output exceeded the range of float16.
        """
        self._check_finite()
        share = self._hits / self._lookups if self._lookups else None
        self._hits = self._lookups = 0
        return share

    def _keep(self, name: str, records: Tensor, images: Tensor, rows: Tensor) -> None:
        """Writes computed rows; where they cannot be written, such as on a full disk, they are computed each time."""
        if name in self._unwritable:
            return
        try:
            self._storages[name].write(records, images, rows)
        except UserError as error:
            self._unwritable.add(name)
            self.notes.append(f"{error}. Outputs that are missing in it were computed again in each epoch.")

    def _computed_rows(self, x: Inputs, names: Collection[str]) -> dict[str, Tensor]:
        """Rows of the teacher's outputs for images."""
        computed = extract_in_chunks(self._teacher, x, names, self._chunk, self._example, self._padding)
        for values in computed.values():
            self._all_finite &= values.to(torch.float16).isfinite().all()
        if self._device.type == "cpu" or any(isinstance(storage, FileStorage) for storage in self._storages.values()):
            self._check_finite()  # it costs no synchronisation that is not needed anyway
        return {name: self._codecs[name].pack(values) for name, values in computed.items()}

    def _check_finite(self) -> None:
        if not bool(self._all_finite):
            names = " or ".join(self._codecs)
            raise OutputsNotFiniteError(
                f"the teacher's {names} are not finite, or exceed 65504, the largest float16: turn its cache off"
            )

    def _in_memory(self, options: CacheConfig, content: str) -> dict[str, Storage]:
        count = self._index.count
        size = sum(MemoryStorage.size(count, codec.width) for codec in self._codecs.values())
        capacity.check_limit(size, content, options.limit)
        device = capacity.memory_device(size, content, self._device)
        return {name: MemoryStorage(count, codec.width, device) for name, codec in self._codecs.items()}

    def _in_files(
        self, key: Key, options: CacheConfig, content: str, layout: FeatureLayout, example: Inputs
    ) -> dict[str, Storage]:
        count, folder = self._index.count, key.folder(options.path)
        files = {name: folder / f"{_file_name(name)}{ROWS}" for name in self._codecs}
        sizes = {name: FileStorage.size(count, codec.width) for name, codec in self._codecs.items()}
        capacity.check_limit(sum(sizes.values()), content, options.limit)
        capacity.check_disk([(files[name], sizes[name]) for name in files], content, options.path)
        open_folder(folder, key, _probe(self._teacher, layout, example))
        return {name: FileStorage(files[name], count, codec.width) for name, codec in self._codecs.items()}


def cacheable(taps: Collection[str], layout: FeatureLayout) -> frozenset[str]:
    """The teacher's outputs that are worth keeping for a stage.

    Args:
        taps: all that the stage reads of the teacher, in their short form.
        layout: the teacher's.

    Returns:
        All of the taps, or none where a map or another view is among them, for which the teacher has to run anyway.
    """
    return frozenset(taps) if {LOGITS, *_vectors(layout)}.issuperset(taps) else frozenset()


def _vectors(layout: FeatureLayout) -> list[str]:
    return [name for name, shape in layout.features.items() if len(shape) == 1]


def _content(outputs: Mapping[str, Codec], space: AugmentationSpace, options: CacheConfig, epochs: int) -> str:
    """The content of the cache, for messages."""
    times = f"{epochs} epochs" if options.mode == "replay" else f"{space.variants} variants"
    return f"the {' and '.join(outputs)} of {space.samples} images in {times}"


def _file_name(output: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in output)


def _probe(teacher: Frozen, layout: FeatureLayout, example: Inputs) -> Probe:
    inputs = example
    if isinstance(example, Tensor):
        noise = torch.randn(_PROBE_IMAGES, *example.shape[1:], generator=torch.Generator().manual_seed(0))
        inputs = noise.to(example)
    found = teacher.extract(inputs, (LOGITS, *_vectors(layout)))
    if not all(bool(values.isfinite().all()) for values in found.values()):
        raise UserError("the teacher's outputs are not finite: its weights are damaged")
    return {name: values.float().tolist() for name, values in found.items()}
