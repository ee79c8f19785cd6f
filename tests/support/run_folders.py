"""Folders of finished runs, in the format of the training code, with numbers from a formula."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from smskd.runs.checksums import CHECKSUM, with_checksum


def sealed(value: dict[str, Any]) -> str:
    """The JSON of an object with its checksum in place of an earlier one."""
    return json.dumps(with_checksum({key: item for key, item in value.items() if key != CHECKSUM}))


PLAIN: tuple[tuple[str, ...], ...] = ((),)
TWO: tuple[tuple[str, ...], ...] = (("fitnet",), ("kd",))
THREE: tuple[tuple[str, ...], ...] = (("at", "sp"), ("fitnet",), ("dkd",))

VALIDATION_PEAK = 75.0
"""Validation accuracy of the best epoch: the last but one of each stage."""


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
    pretraining: Sequence[str] = (),
    finished: bool = True,
    facts: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Path:
    """A run whose student has a test accuracy of ``top1`` percent on 360 images after the last epoch.

    Args:
        folder: of the run; it is created.
        name, seed, stages, student, data, classes, seconds: as in the summary.
        top1: test accuracy of the last epoch.
        best: test accuracy of the best epoch by validation, the last but one; None: there is no validation split.
        teacher_top1: test accuracy of the teacher; None: there is no teacher.
        epochs_per_stage: of every stage.
        forgotten: test images that a stage forgets.
        pretraining: methods that have a pretraining phase of three epochs before the first stage.
        finished: whether there is a summary.
        facts: that the identity has besides those that follow from the other arguments, or instead of them.
        environment: facts of the environment, likewise.
    """
    folder.mkdir(parents=True)
    epochs = epochs_per_stage * len(stages)
    curve = [_rising(epoch, epochs, top1, seed) for epoch in range(1, epochs + 1)]
    if best is not None:
        curve[-2] = best
    validation = None if best is None else [_validation(epoch, epochs, epochs_per_stage) for epoch in range(epochs)]
    lines = [
        _line(epoch, stages, epochs_per_stage, curve, validation, classes, seconds / epochs)
        for epoch in range(1, epochs + 1)
    ]
    recipe = {"name": name, "runtime": {"seed": seed}, "stages": [{"methods": list(methods)} for methods in stages]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (folder / "environment.json").write_text(
        sealed(
            {"python": "3.12.1", "torch": "2.11.0", "device": "cpu", "cpu": {"threads": 2}, "tf32": False}
            | dict(environment or {})
        )
    )
    (folder / "metrics.jsonl").write_text("".join(sealed(line) + "\n" for line in lines))
    if pretraining:
        phases = [_phase_line(method, epoch) for method in pretraining for epoch in (1, 2, 3)]
        (folder / "pretraining.jsonl").write_text("".join(sealed(line) + "\n" for line in phases))
    if finished:
        top5 = None if classes < 6 else 97.0
        summary = {
            "format": 2,
            "name": name,
            "seed": seed,
            "seconds": seconds,
            "epochs": epochs,
            "data": _data(data, classes, validated=best is not None),
            "student": {
                **_network(student, 78_042, 12_500_000, {"1": 0.412, "64": 12.5}),
                "top1_last": top1,
                "top5_last": top5,
                "top1_best": best,
                "best_epoch": None if best is None else epochs - 1,
                "validation_top1_best": None if best is None else VALIDATION_PEAK,
                "top1": top1,
                "top5": top5,
            },
            "teacher": _teacher(teacher_top1, classes),
            "stages": [
                _stage(index, methods, epochs_per_stage, curve, forgotten, validated=best is not None)
                for index, methods in enumerate(stages, start=1)
            ],
            "notes": [],
            "skipped_steps": 0,
            "digest": "0" * 64,
            "identity": _identity(seed, stages, teacher_top1, student, data) | dict(facts or {}),
        }
        (folder / "summary.json").write_text(sealed(summary))
    return folder


def _identity(
    seed: int, stages: Sequence[Sequence[str]], teacher_top1: float | None, student: str, data: str
) -> dict[str, Any]:
    teacher = {"teacher": None} if teacher_top1 is None else {"teacher.name": "resnet20"}
    prints = {"fingerprints.teacher": f"{'7' * 64}:{'8' * 64}"} if teacher_top1 is not None else {}
    methods = {
        f"stages.{index}.methods.{place}.name": method
        for index, names in enumerate(stages)
        for place, method in enumerate(names)
    }
    return {
        "semantics": 2,
        "data.source.name": data,
        "student.name": student,
        **teacher,
        "training.batch_size": 64,
        "optimizer.learning_rate": 0.05,
        **methods,
        "runtime.seed": seed,
        "runtime.device": "cpu",
        "fingerprints.train": f"train of {data}",
        "fingerprints.test": f"test of {data}",
        "fingerprints.loader_seed": str(seed),
        "fingerprints.student": f"{student} from seed {seed}",
        "fingerprints.student_structure": student,
        **prints,
    }


def _rising(epoch: int, epochs: int, top1: float, seed: int) -> float:
    wobble = 1.5 * (((epoch * 7 + seed * 3) % 5) - 2) / 2
    return top1 if epoch == epochs else max(0.0, top1 - 40.0 * 0.88**epoch - 1.5 + wobble * (1 - epoch / epochs))


def _validation(index: int, epochs: int, length: int) -> float:
    """Rises over the run; the last but one epoch of each stage is the best of the stage."""
    peak = 10.0 if index % length == length - 2 else 0.0
    return VALIDATION_PEAK - 10.0 - 30.0 * (epochs - 2 - index) / epochs + peak


def _line(
    epoch: int,
    stages: Sequence[Sequence[str]],
    length: int,
    curve: Sequence[float],
    validation: Sequence[float] | None,
    classes: int,
    seconds: float,
) -> dict[str, Any]:
    """A line of metrics.jsonl."""
    stage, test = (epoch - 1) // length + 1, curve[epoch - 1]
    losses: dict[str, float] = {"ce": 2.2 * 0.93**epoch + 0.2}
    losses |= {method: (0.9 + 0.4 * i) * 0.95**epoch for i, method in enumerate(stages[stage - 1])}
    if stage > 1:
        losses["anchor"] = 0.3 * (1 - 0.9 ** (epoch - length))
    measured = {} if validation is None else {"validation_top1": validation[epoch - 1], "validation_top5": None}
    moved = {"retained": 200, "forgotten": epoch % 10, "learned": 30, "never_known": 130 - epoch % 10}
    return {
        "epoch": epoch,
        "stage": stage,
        "learning_rate": 0.05 if epoch <= length else 0.005,
        "losses": {"total": sum(losses.values()), **losses},
        "train_top1": min(100.0, test + 6.0 * epoch / len(curve)),
        "train_top5": None if classes < 6 else 98.0,
        "test_top1": test,
        "test_top5": None if classes < 6 else 97.0,
        **measured,
        **({"transitions": moved} if stage > 1 else {}),
        "images_per_second": 4321.0,
        "seconds": seconds,
    }


def _phase_line(method: str, epoch: int) -> dict[str, Any]:
    loss = {1: 4.0, 2: 2.0, 3: 1.0}[epoch]
    return {
        "stage": 1,
        "method": method,
        "epoch": epoch,
        "epochs": 3,
        "learning_rate": 0.05,
        "losses": {"total": loss, "connector": loss},
        "seconds": 0.5,
    }


def _data(name: str, classes: int, *, validated: bool) -> dict[str, Any]:
    sizes = {"train_samples": 1437, **({"validation_samples": 144} if validated else {}), "test_samples": 360}
    return {"name": name, **sizes, "classes": classes, "image_shape": [1, 8, 8], "fingerprint": "f" * 64}


def _network(model: str, parameters: int, macs: int, latency: dict[str, float]) -> dict[str, Any]:
    stages = ["stage1", "stage2", "stage3"]
    features = {"stem": "stem", "stages": stages, "last_map": "stage3", "pooled": "pooled"}
    sizes = {"parameters": parameters, "macs": macs}
    return {"model": model, **sizes, "features": features, "latency_milliseconds": latency}


def _teacher(top1: float | None, classes: int) -> dict[str, Any] | None:
    if top1 is None:
        return None
    network = _network("resnet20", 272_474, 40_800_000, {"1": 1.648, "64": 40.0})
    return {**network, "top1_last": top1, "top5_last": None if classes < 6 else 99.0}


def _stage(
    index: int, methods: Sequence[str], length: int, curve: Sequence[float], forgotten: int, *, validated: bool
) -> dict[str, Any]:
    own = curve[(index - 1) * length : index * length]
    first = index == 1
    return {
        "index": index,
        "methods": list(methods),
        "epochs": [(index - 1) * length + 1, index * length],
        "anchor": None if first else "reference_kl",
        "top1_last": own[-1],
        "top1_best": own[-2] if validated else None,
        "top1_carried": own[-1],
        "retained": None if first else 200,
        "forgotten": None if first else forgotten,
        "learned": None if first else 36,
        "never_known": None if first else 360 - 200 - forgotten - 36,
        "stored": None,
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
