"""Memory over an epoch of streamed pictures: JPEG files in folders, and Parquet files.

    python benchmarks/epoch_memory.py FOLDER --source parquet

FOLDER is made if it does not exist: pictures of 375x500, of which 256 differ. Random resized crops of them are read,
and the memory of all processes is noted after batches, without that of libraries; what they share is counted once.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from smskd.bench.pictures import CLASSES, picture
from smskd.builder.augmentation import augmentation_of
from smskd.config.augmentation import AugmentationConfig, RandomResizedCropConfig
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, LoaderConfig
from smskd.data import Dataset, Loader, load
from smskd.data.loaders.make import make_loader

HEIGHT, WIDTH, SIZE = 375, 500, 224
DIFFERENT, QUALITY, FILES, GROUP = 256, 90, 4, 100
BATCH = 64
WARM_UP = 0.5
"""Share of the batches after which memory has to be constant: until then the allocator collects gaps between blocks."""

_MB = 10**6


def write(folder: Path, count: int) -> None:
    """Writes the same pictures as files and as Parquet."""
    pool = folder / "pool"
    pool.mkdir(parents=True)
    for number in range(DIFFERENT):
        picture(HEIGHT, WIDTH, number).save(pool / f"{number}.jpg", quality=QUALITY)
    contents = [(pool / f"{number}.jpg").read_bytes() for number in range(DIFFERENT)]
    for part, total in (("train", count), ("test", CLASSES)):
        for row in range(total):
            place = folder / "image_folder" / part / f"class{row % CLASSES}" / f"{row}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(pool / f"{row % DIFFERENT}.jpg", place)
        files = FILES if part == "train" else 1
        for number in range(files):
            rows = range(number, total, files)
            _write_parquet(folder / "parquet" / f"{part}-{number:05}-of-{files:05}.parquet", rows, contents)


def _write_parquet(path: Path, rows: range, contents: list[bytes]) -> None:
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary())])), ("label", pa.int64())])
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for begin in range(0, len(rows), GROUP):
            some = rows[begin : begin + GROUP]
            images = [{"bytes": contents[row % DIFFERENT]} for row in some]
            labels = [row % CLASSES for row in some]
            writer.write_table(pa.table({"image": images, "label": labels}, schema=schema))


def memory() -> float:
    """MB of this process and its workers, without mapped files: what they share is counted once (PSS)."""
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    return sum(_pss(process) for process in processes if process is not None) / _MB


def _pss(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    # Not the pages of libraries: other programs that map the same ones come and go.
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def loader_of(source: str, root: Path, workers: int) -> Loader:
    """Random resized crops of a source."""
    config = DataConfig(
        ComponentConfig(source, {"root": str(root), "image_size": [SIZE, SIZE]}),
        augmentation=AugmentationConfig(random_resized_crop=RandomResizedCropConfig(), flip=True),
        loader=LoaderConfig(workers=workers, kind="streaming"),
    )
    dataset = load(config)
    assert isinstance(dataset, Dataset)
    augmentation = augmentation_of(config, dataset, None, torch.contiguous_format)
    return make_loader(dataset.train, BATCH, augmentation, config=config.loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", choices=("image_folder", "parquet"), default="image_folder")
    parser.add_argument("--pictures", type=int, default=6_000, help="how many are made")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    if not arguments.folder.exists():
        write(arguments.folder, arguments.pictures)
    torch.set_num_threads(1)
    os.environ.setdefault("SMSKD_CACHE", str(arguments.folder / "cache"))
    before = memory()
    loader = loader_of(arguments.source, arguments.folder / arguments.source, arguments.workers)
    every, begun, images = max(1, len(loader) // 40), time.perf_counter(), 0
    series = [(0, memory())]
    for number, batch in enumerate(loader.epoch(1), start=1):
        images += len(batch.y)
        if number % every == 0:
            series.append((number, memory()))
    after = [(number, found) for number, found in series if number >= WARM_UP * len(loader)]
    numbers, values = np.array(after).T
    result = {
        "source": arguments.source,
        "pictures": images,
        "workers": arguments.workers,
        "decoded_mb": round(images * 3 * HEIGHT * WIDTH / _MB),
        "crops_mb": round(images * 3 * SIZE * SIZE / _MB),
        "before_mb": round(before, 1),
        "least_mb": round(float(values.min()), 1),
        "most_mb": round(float(values.max()), 1),
        "growth_over_the_epoch_mb": round(float(np.polyfit(numbers, values, 1)[0]) * len(loader), 1),
        "images_per_second": round(images / (time.perf_counter() - begun), 1),
        "series": [(number, round(found, 1)) for number, found in series],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
