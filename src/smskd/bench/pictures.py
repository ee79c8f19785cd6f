"""Pictures for measurements: smooth colours, edges and noise, in JPEG files as large as those of photographs."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 4
QUALITY = 90
_DISCS, _NOISE = 12, 8.0


def picture(height: int, width: int, seed: int) -> Image.Image:
    """A picture of smooth colours with the edges of some discs and noise, so that JPEG has as much to do as usual.

    Args:
        height: in pixels.
        width: likewise.
        seed: of the picture.
    """
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32).copy()
    rows, columns = np.mgrid[:height, :width]
    for _ in range(_DISCS):
        y, x, radius = random.uniform(0, (height, width, width / 5))
        inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
        pixels[inside] = (pixels[inside] + random.uniform(0, 255, 3)) / 2
    pixels += random.normal(0, _NOISE, (height, width, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_pictures(folder: Path, count: int, height: int, width: int) -> None:
    """Writes JPEG files into ``train/CLASS`` and one of each class into ``val/CLASS``.

    Args:
        folder: that is empty.
        count: of training pictures.
        height: in pixels.
        width: likewise.
    """
    for number in range(count + CLASSES):
        part = "train" if number < count else "val"
        place = folder / part / f"class{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        picture(height, width, number).save(place / f"{number}.jpg", quality=QUALITY)
