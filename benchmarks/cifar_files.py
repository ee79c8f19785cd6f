"""Writes images of CIFAR-10 from Parquet files as a folder of JPEG files and as shards of a WebDataset, in one order.

    python benchmarks/cifar_files.py CIFAR10 pictures shards

The first 5,000 training and 2,000 test images, whose bytes stay as they are, by class.
"""

import json
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq

COUNTS = {"train": 5000, "test": 2000}
IN_A_SHARD = 1000


def main() -> None:
    source, folder, shards = map(Path, sys.argv[1:])
    for part, count in COUNTS.items():
        table = pq.read_table(source / f"{part}.parquet").slice(0, count)
        names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
        rows = sorted((names[label], row) for row, label in enumerate(table["label"].to_pylist()))
        images = [(f"{name}/{row:05}", name, table["img"][row].as_py()["bytes"]) for name, row in rows]
        (shards / part).mkdir(parents=True)
        for begin in range(0, count, IN_A_SHARD):
            with tarfile.open(shards / part / f"{begin // IN_A_SHARD}.tar", "w") as archive:
                for place, name, content in images[begin : begin + IN_A_SHARD]:
                    _add(archive, f"{place}.jpg", content)
                    _add(archive, f"{place}.cls", name.encode())
        for place, _, content in images:
            path = folder / part / f"{place}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, BytesIO(content))


if __name__ == "__main__":
    main()
