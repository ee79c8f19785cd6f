"""Parquet files of images as the Hugging Face hub stores them."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ["cat", "dog", "owl"]


def pixels(n, seed=0, size=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def metadata(**features):
    return {"huggingface": json.dumps({"info": {"features": features}})}


def write(path, images, labels, image="image", label="label", names=None, struct=True, group=4, **more):
    """A Parquet file as on the hub; ``images`` are arrays, encoded as PNG, or bytes, written unchanged."""
    cells = [cell if cell is None or isinstance(cell, bytes) else png(cell) for cell in images]
    binary = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if struct else pa.binary()
    column = pa.array([{"bytes": cell, "path": None} for cell in cells] if struct else cells, binary)
    columns = {image: column, label: pa.array(labels), **more}
    table = pa.table(columns)
    if names:
        features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata(metadata(**features))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)


def plain_parquet(root):
    """Eleven training images of three classes in two files, in groups of four rows, and five test images."""
    write(root / "train-00000-of-00002.parquet", pixels(6), [0, 1, 2, 0, 1, 2], names=NAMES)
    write(root / "train-00001-of-00002.parquet", pixels(5, seed=1), [2, 1, 0, 1, 2], names=NAMES)
    write(root / "test.parquet", pixels(5, seed=2), [2, 1, 0, 1, 2], names=NAMES)
    return root


def arrays(images):
    return images.pixels.permute(0, 2, 3, 1).numpy()
