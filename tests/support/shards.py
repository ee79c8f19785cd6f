"""Shards of a WebDataset."""

import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (6, 5)
"""Height and width."""


def image(seed: int, size: tuple[int, int] = SIZE, kind: str = "PNG") -> bytes:
    """An encoded image of noise."""
    file = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_shard(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Writes files to a tar, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, BytesIO(content))
    return path


def samples(labels: Iterable[object], first: int = 0) -> Iterable[tuple[str, bytes]]:
    """The files of samples with these labels; their images follow from their numbers."""
    for number, label in enumerate(labels, start=first):
        yield f"{number:04}.cls", str(label).encode()
        yield f"{number:04}.png", image(number)


TRAIN_LABELS, TEST_LABELS = (0, 1, 2, 2, 1, 0, 1), (2, 0, 1)


def write_shards(root: Path) -> Path:
    """Two training shards and a test shard; images 0 to 6 and 100 to 102."""
    write_shard(root / "birds-train-0.tar", samples(TRAIN_LABELS[:4]))
    write_shard(root / "birds-train-1.tar", samples(TRAIN_LABELS[4:], first=4))
    write_shard(root / "birds-test-0.tar", samples(TEST_LABELS, first=100))
    return root
