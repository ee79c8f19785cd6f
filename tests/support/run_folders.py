"""Folders as the engine leaves them, with numbers made up by a formula."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

PLAIN: tuple[tuple[str, ...], ...] = ((),)
TWO: tuple[tuple[str, ...], ...] = (("fitnet",), ("kd",))
THREE: tuple[tuple[str, ...], ...] = (("at", "sp"), ("fitnet",), ("dkd",))


def write_run(
    folder: Path,
    name: str = "fitnet-kd",
    seed: int = 0,
    stages: Sequence[Sequence[str]] = TWO,
    top1: float = 65.0,
    best: float | None = None,
    teacher_top1: float | None = 78.5,
    classes: int = 10,
    epochs_per_stage: int = 10,
    forgotten: int = 18,
    seconds: float = 12.5,
    student: str = "resnet8x4",
    data: str = "digits",
    finished: bool = True,
) -> Path:
    """A run of ``len(stages)`` stages whose student ends at ``top1`` percent of 360 test samples."""
    folder.mkdir(parents=True)
    epochs = epochs_per_stage * len(stages)
    best = top1 + 0.5 if best is None else best
    curve = [_rising(epoch, epochs, top1, seed) for epoch in range(1, epochs + 1)]
    if epochs > 2:
        curve[-2] = best
    lines = []
    for epoch, test in enumerate(curve, start=1):
        stage = (epoch - 1) // epochs_per_stage + 1
        losses: dict[str, float] = {"class": 2.2 * 0.93**epoch + 0.2}
        losses |= {method: (0.9 + 0.4 * i) * 0.95**epoch for i, method in enumerate(stages[stage - 1])}
        if stage > 1:
            losses["anchor"] = 0.3 * (1 - 0.9 ** (epoch - epochs_per_stage))
        lines.append(
            {
                "epoch": epoch,
                "stage": stage,
                "learning_rate": 0.05 if epoch <= epochs_per_stage else 0.005,
                "losses": {"total": sum(losses.values()), **losses},
                "train_top1": min(100.0, test + 6.0 * epoch / epochs),
                "train_top5": None if classes < 6 else 98.0,
                "test_top1": test,
                "test_top5": None if classes < 6 else 97.0,
                "images_per_second": 4321.0,
                "seconds": seconds / epochs,
            }
        )
    summary: dict[str, Any] = {
        "format": 1,
        "name": name,
        "seed": seed,
        "seconds": seconds,
        "epochs": epochs,
        "data": {
            "name": data,
            "train_samples": 1437,
            "test_samples": 360,
            "classes": classes,
            "image_shape": [1, 8, 8],
        },
        "student": {
            "model": student,
            "parameters": 78_042,
            "macs": 12_500_000,
            "latency_milliseconds": {"1": 0.412, "64": 12.5},
            "top1_last": top1,
            "top1_best": best,
            "top5_last": None if classes < 6 else 97.0,
        },
        "teacher": None
        if teacher_top1 is None
        else {
            "model": "resnet20",
            "parameters": 272_474,
            "macs": 40_800_000,
            "latency_milliseconds": {"1": 1.648, "64": 40.0},
            "top1_last": teacher_top1,
            "top5_last": None if classes < 6 else 99.0,
        },
        "stages": [
            _stage(index, methods, epochs_per_stage, curve, forgotten) for index, methods in enumerate(stages, start=1)
        ],
    }
    recipe = {"name": name, "seed": seed, "stages": [{"methods": list(methods)} for methods in stages]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (folder / "environment.json").write_text(
        json.dumps({"python": "3.12.1", "torch": "2.11.0", "device": "cpu", "cpu": {"threads": 2}, "tf32": False})
    )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if finished:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def _rising(epoch: int, epochs: int, top1: float, seed: int) -> float:
    wobble = 1.5 * (((epoch * 7 + seed * 3) % 5) - 2) / 2
    return top1 if epoch == epochs else top1 - 40.0 * 0.88**epoch - 1.5 + wobble * (1 - epoch / epochs)


def _stage(index: int, methods: Sequence[str], length: int, curve: Sequence[float], forgotten: int) -> dict[str, Any]:
    own = curve[(index - 1) * length : index * length]
    first = index == 1
    return {
        "index": index,
        "methods": list(methods),
        "epochs": [(index - 1) * length + 1, index * length],
        "anchor": None if first else "reference_kl",
        "top1_last": own[-1],
        "top1_best": max(own),
        "retained": None if first else 200,
        "forgotten": None if first else forgotten,
        "learned": None if first else 36,
        "never_known": None if first else 360 - 200 - forgotten - 36,
        "cost": {
            "milliseconds": {
                "data": 0.3,
                "teacher": 8.25 if methods else 0.0,
                "reference": 0.0 if first else 3.125,
                "student_forward": 6.5,
                "losses": 0.4,
                "backward": 11.75,
                "optimizer": 0.9,
                "other": 0.2,
            },
            "step_milliseconds": 28.3 if first else 31.425,
            "images_per_second": 2261.5 if first else 2036.6,
            "peak_memory_bytes": 912_345_678,
        },
    }
