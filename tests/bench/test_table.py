"""The page that ``make bench`` writes."""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import table


def result(row: table.Row, step: float) -> dict[str, Any]:
    measures = {
        "images_per_second": 64000 / step,
        "step_milliseconds": step,
        "milliseconds": {"data": 1.0, "teacher": step - 1},
        "peak_memory_bytes": 12_000_000,
    }
    return {
        "teacher": row.teacher,
        "student": row.student,
        "batch_size": 64,
        "data_size": 50_000,
        "image_size": 32,
        "classes": 100,
        "steps": 40,
        **measures,
        "plain": {**measures, "step_milliseconds": 3 * step, "images_per_second": 64000 / step / 3},
        "ratio": 3.0,
        "environment": {
            "device_name": None, "processor": "Abacus", "cores": 2, "threads": 2, "platform": "Linux", "python": "3.12",
            "torch": "2.11",
        },
    }  # fmt: skip


def test_the_page_tells_machine_rows_and_the_second_stage() -> None:
    measured = [(row, result(row, 100.0 if row.stage == 1 else 120.0)) for row in table.ROWS]
    page = table.page(measured, date(2030, 1, 2))
    assert "Measured on 2030-01-02" in page
    assert "Abacus, 2 cores, 2 threads" in page
    assert "| resnet56 → resnet20 | kd | 1 | memory | 64 | fp32 | 640 | 213.3" in page
    assert "**3.00** | ≥ 2.6 | 12.0 MB | 12.0 MB |" in page
    assert "of kd in batches of 64, fp32, takes **1.20** times as long as one of the first (aim: ≤ 1.25)" in page
    assert "| 1.0 (1.0) | 99.0 (99.0) | 100.0 (300.0) |" in page
    assert page.count("| resnet56 → resnet20 |") == 2 * 5
    assert page.count("| resnet32x4 → resnet8x4 |") == 2


def test_each_row_is_measured_by_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    class Done:
        returncode = 0

        def __init__(self, command: list[str], **_: Any) -> None:
            asked.append(command[len(table.PROGRAM) :])
            row = table.ROWS[len(asked) - 1]
            self.stdout = json.dumps(result(row, 100.0))

    monkeypatch.setattr(table.subprocess, "run", Done)
    table.main(["--out", str(tmp_path / "R.md"), "--steps", "2"])
    assert asked[0] == [
        "bench", "step", "--teacher", "resnet56", "--student", "resnet20", "--method", "kd", "--stage", "1",
        "--cache", "memory", "--batch-size", "64", "--precision", "fp32", "--steps", "2", "--json", "-",
    ]  # fmt: skip
    assert len(asked) == len(table.ROWS)
    assert (tmp_path / "R.md").read_text(encoding="utf-8").startswith("# Benchmarks\n")


def test_a_gpu_has_rows_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[table.Row] = []

    def timed(row: table.Row, further: list[str]) -> dict[str, Any]:
        asked.append(row)
        return {**result(row, 1.0), "batch_size": row.batch_size}

    monkeypatch.setattr(table, "_timed", timed)
    table.main(["--gpu", "--out", str(tmp_path / "R.md")])
    assert tuple(asked) == table.GPU_ROWS
    assert {(row.method, row.stage, row.batch_size) for row in asked} == {
        (method, stage, size) for method, stage in (("fitnet", 1), ("kd", 1), ("kd", 2)) for size in (64, 1024)
    }
    page = (tmp_path / "R.md").read_text(encoding="utf-8")
    assert "of kd in batches of 1024, bf16, takes **1.00** times" in page
    assert page.count("≥ 10") == 8
