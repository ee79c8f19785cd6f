"""The folder in which the catalogue of bad inputs is tried: a recipe, a trained teacher, damaged and hostile files."""

import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support.program import fine

RECIPE = """
base: digits/kd.yaml
data: {subset: {train: 64, test: 32}}
student: resnet8_w2
teacher: {name: resnet8_w4, weights: teacher}
training: {epochs: 2}
schedule: {decay_at: [1]}
runtime: {device: cpu}
"""
"""Stands in ``tiny.yaml``; if a mistake in an override were not found, it would train within a second."""

TEACHER = ("student=resnet8_w4", "data.subset={train: 64, test: 32}", "training.epochs=1", "runtime.device=cpu")

_MODULES = {"broken_module": "x = (\n", "raising_module": "\n1 / 0\n", "exiting_module": "raise SystemExit(3)\n"}


class _Hostile:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


def write_inputs(folder: Path) -> None:
    """Writes all files into the folder, which is the working folder."""
    (folder / "tiny.yaml").write_text(RECIPE)
    fine("train", "digits/teacher", *TEACHER, "--out", "teacher", "-q")
    (folder / "empty").mkdir()
    (folder / "text.txt").write_text("hi")
    os.mkfifo(folder / "pipe")
    for name, text in _MODULES.items():
        (folder / f"{name}.py").write_text(text)
    _write_weights(folder)
    _write_data(folder)


def _write_weights(folder: Path) -> None:
    student = folder / "teacher" / "student.safetensors"
    (folder / "empty.pth").touch()
    (folder / "noise.safetensors").write_bytes(b"noise" * 100)
    (folder / "cut.safetensors").write_bytes(student.read_bytes()[:1000])
    torch.save({"a": _Hostile()}, folder / "hostile.pth")
    save_file({"x": torch.zeros(2)}, folder / "other.safetensors")
    tensors = load_file(student)
    tensors["conv1.weight"] *= float("nan")
    save_file(tensors, folder / "nan.safetensors")
    metadata = {"model": "os:mkdir", "options": json.dumps({"path": "made"}), "classes": "10", "image_shape": "[1,8,8]"}
    save_file({"x": torch.zeros(1)}, folder / "hostile.safetensors", metadata=metadata)


def _write_data(folder: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG")
    tables = {"no_rows": [], "large_label": [0, 10**12]}
    for part in ("train", "test"):
        for name in ("no_parquet", *tables):
            (folder / name).mkdir(exist_ok=True)
        (folder / "no_parquet" / f"{part}.parquet").write_bytes(b"PAR1 no")
        for name, labels in tables.items():
            images = pa.array([{"bytes": stream.getvalue()}] * len(labels), pa.struct([("bytes", pa.binary())]))
            table = pa.table({"image": images, "label": pa.array(labels, pa.int64())})
            pq.write_table(table, folder / name / f"{part}.parquet")
        for name in ("no_images/{}/a", "damaged_images/{}/a", "damaged_images/{}/b"):
            (folder / name.format(part)).mkdir(parents=True)
        for name in ("a", "b"):
            (folder / "damaged_images" / part / name / "x.png").write_bytes(b"no image")
