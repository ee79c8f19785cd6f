"""Peak memory of Tiny ImageNet: 110,000 generated JPEG files of 64x64 in its layout, loaded and read for an epoch.

    python benchmarks/data_memory.py FOLDER --kind auto

FOLDER is made if it does not exist. 2,000 of the files differ; the others are hard links to these.
"""

import argparse
import os
import resource
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from smskd import data
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, LoaderConfig
from smskd.data.loaders.make import make_loader

CLASSES, TRAIN, TEST, DIFFERENT = 200, 500, 10_000, 2_000


def write(root: Path) -> None:
    """Writes the files."""
    generator = np.random.default_rng(0)
    names = [f"n{number:08}" for number in range(CLASSES)]
    places = [root / "train" / name / "images" / f"{name}_{row}.JPEG" for name in names for row in range(TRAIN)]
    places += [root / "val" / "images" / f"val_{row}.JPEG" for row in range(TEST)]
    for number, path in enumerate(places):
        path.parent.mkdir(parents=True, exist_ok=True)
        if number >= DIFFERENT:
            os.link(places[number % DIFFERENT], path)
            continue
        file = BytesIO()
        pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(file, "JPEG", quality=85)
        path.write_bytes(file.getvalue())
    (root / "wnids.txt").write_text("\n".join(names))
    lines = [f"val_{row}.JPEG\t{names[row % CLASSES]}\t0\t0\t9\t9\n" for row in range(TEST)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))


def peak() -> float:
    """Of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=("auto", "memory", "streaming"), default="auto")
    arguments = parser.parse_args()
    if not arguments.folder.exists():
        write(arguments.folder)
    torch.set_num_threads(1)
    config, before, begun = LoaderConfig(kind=arguments.kind), peak(), time.perf_counter()
    source = ComponentConfig("tiny_imagenet", {"root": str(arguments.folder)})
    dataset = data.load(DataConfig(source, loader=config))
    assert isinstance(dataset, data.Dataset)
    loaded = time.perf_counter() - begun
    begun = time.perf_counter()
    loader: data.Loader = make_loader(dataset.train, 256, dataset.augmentation(), config=config)
    images = sum(int(batch.y.numel()) for batch in loader.epoch(1))
    speed = images / (time.perf_counter() - begun)
    kind, count = type(dataset.train).__name__, len(dataset.train) + len(dataset.test)
    print(f"{kind}: {count} images of {dataset.classes} classes")
    print(
        f"memory: {before:.2f} GiB before, {peak():.2f} GiB at the peak; loaded in {loaded:.0f} s, {speed:.0f} images/s"
    )


if __name__ == "__main__":
    main()
