"""The pages of ``benchmarks/table.py``: measured anew, and made from results measured before."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import results_page
import table

BENCHMARKS = Path(table.__file__).parent


def result(row: table.Row, step: float, device_name: str | None = None) -> dict[str, Any]:
    measures = {
        "images_per_second": 64000 / step,
        "step_milliseconds": step,
        "milliseconds": {"data": 1.0, "teacher": step - 1},
        "peak_memory_bytes": 12_000_000,
    }
    return {
        **dict(zip(results_page.CASE_KEYS, row.key, strict=True)),
        "data_size": 50_000,
        "image_size": 32,
        "classes": 100,
        "steps": 40,
        **measures,
        "baseline": {**measures, "step_milliseconds": 3 * step, "images_per_second": 64000 / step / 3},
        "ratio": 3.0,
        "environment": {
            "device_name": device_name, "processor": "Abacus", "cores": 2, "threads": 2, "platform": "Linux",
            "python": "3.12", "torch": "2.11", "tf32": True,
        },
    }  # fmt: skip


def test_the_page_has_the_machine_the_rows_and_the_second_stage() -> None:
    measured = [(result(row, 100.0 if row.stage == 1 else 120.0), row.aim) for row in table.ROWS]
    page = results_page.page(measured, "Measured on 2030-01-02")
    assert "Measured on 2030-01-02: Abacus, 2 cores, 2 threads; Linux; Python 3.12, PyTorch 2.11." in page
    assert "; medians over 40 steps." in page
    assert "| resnet56 → resnet20 | kd | 1 | memory | 64 | fp32 | 640 | 213.3" in page
    assert "**3.00** | ≥ 2.6 | 12.0 MB | 12.0 MB |" in page
    assert "of kd in batches of 64, fp32, takes **1.20** times as long as one of the first (aim: ≤ 1.25)" in page
    assert "crd in batches of 64, fp32, trains **1.00** times as many images per second as kd (aim: ≥ 0.85)" in page
    assert "| 1.0 (1.0) | 99.0 (99.0) | 100.0 (300.0) |" in page
    assert page.count("| resnet56 → resnet20 |") == 2 * 5
    assert page.count("| resnet32x4 → resnet8x4 |") == 2


def test_a_gpu_has_means_and_tf32() -> None:
    measured = [({**result(row, 1.0, "Loom"), "steps": row.batch_size}, row.aim) for row in table.GPU_ROWS]
    page = results_page.page(measured, "Measured", notes="## Further\n\nNotes.\n")
    assert "Measured: Loom; Linux" in page
    assert "; means over 64 or 1024 steps." in page
    assert page.count("| fp32 (TF32) |") == page.count("| bf16 |") == 2 * len(table.GPU_ROWS) / 2
    assert page.endswith(" |\n\n## Further\n\nNotes.\n")


def test_each_row_is_measured_by_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    class Done:
        returncode = 0

        def __init__(self, command: list[str], **_: Any) -> None:
            asked.append(command[len(table.PROGRAM) :])
            row = table.ROWS[len(asked) - 1]
            self.stdout = json.dumps(result(row, 100.0))

    monkeypatch.setattr(table.subprocess, "run", Done)
    out, results = tmp_path / "R.md", tmp_path / "R.json"
    table.main(["--out", str(out), "--json", str(results), "--student", "resnet8", "--steps", "2"])
    assert asked[0] == [
        "bench", "step", "--teacher", "resnet56", "--student", "resnet20", "--method", "kd", "--stage", "1",
        "--cache", "memory", "--batch-size", "64", "--precision", "fp32", "--steps", "2", "--student", "resnet8",
        "--json", "-",
    ]  # fmt: skip
    assert len(asked) == len(table.ROWS)
    page = out.read_text(encoding="utf-8")
    assert re.match(r"# Benchmarks\n\nMeasured on \d{4}-\d\d-\d\d by `make bench`: Abacus", page)

    again = tmp_path / "again.md"
    table.main(["--out", str(again), "--from", str(results)])
    assert len(asked) == len(table.ROWS)
    made = again.read_text(encoding="utf-8")
    assert made.startswith("# Benchmarks\n\nMade by `benchmarks/table.py` from [R.json](R.json): Abacus")
    assert made.split(": Abacus")[1] == page.split(": Abacus")[1]


def test_a_gpu_has_rows_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[table.Row] = []

    def timed(row: table.Row, further: list[str]) -> dict[str, Any]:
        asked.append(row)
        return result(row, 1.0, "Loom")

    monkeypatch.setattr(table, "_timed", timed)
    table.main(["--gpu", "--out", str(tmp_path / "R.md")])
    assert tuple(asked) == table.GPU_ROWS
    assert {(row.method, row.stage, row.batch_size) for row in asked} == {
        (method, stage, size) for method, stage in (("fitnet", 1), ("kd", 1), ("kd", 2)) for size in (64, 1024)
    }
    page = (tmp_path / "R.md").read_text(encoding="utf-8")
    assert "by `make bench-gpu`: Loom" in page
    assert "of kd in batches of 1024, bf16, takes **1.00** times" in page
    assert page.count("≥ 10") == 8


def test_the_page_for_the_gpu_is_made_from_its_results(tmp_path: Path) -> None:
    """The published page and the published results are the same measurement."""
    notes = str(BENCHMARKS / "h200-notes.md")
    table.main(["--from", str(BENCHMARKS / "h200.json"), "--notes", notes, "--out", str(tmp_path / "R.md")])
    published = (BENCHMARKS / "RESULTS-gpu.md").read_text(encoding="utf-8")
    assert (tmp_path / "R.md").read_text(encoding="utf-8") == published
