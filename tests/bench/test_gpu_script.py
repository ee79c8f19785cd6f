"""The script for a GPU: its commands are understood, and it writes its part of the page."""

import json
from pathlib import Path

import gpu
import pytest
import side_by_side
from timed_parts import Outcome

from smskd.recipe import read
from tests.support import sweeps


def test_its_parts_name_programs_and_recipes_that_exist(tmp_path: Path) -> None:
    parts = {part.name: list(part.command) for part in gpu.parts_of(tmp_path, ["training.epochs=3"])}
    for name, words in parts.items():
        programs = [word for word in words if word.endswith(".py")]
        assert all((gpu.ROOT / program).is_file() for program in programs), name
        if "train" in words:
            place = words.index("train") + 1
            changes = [word for word in words[place + 3 :] if "=" in word]
            assert read(words[place], changes).training.epochs == 3
            assert read(words[place], changes).runtime.precision == "bf16"
    assert {"teacher", "beside", "whole", "evidence"} <= set(parts)


def test_seeds_beside_each_other_are_measured(tmp_path: Path) -> None:
    """With the options of the part, all but the data and the size."""
    weights = sweeps.teacher(tmp_path / "teacher")
    (part,) = [part for part in gpu.parts_of(tmp_path, ["data.subset.train=64"]) if part.name == "beside"]
    words = [word for word in part.command[2:] if not word.startswith(("--student", "--teacher-weights", "--runs"))]
    small = ["--student=resnet8_w2", f"--teacher-weights={weights}", "--teacher-name=resnet8_w2", "--source=digits"]
    side_by_side.main([*words, *small, "--runs=2", "--epochs=1", "--device=cpu", "data.subset.test=32"])
    found = json.loads((tmp_path / gpu.BESIDE).read_text())
    assert found["runs"] == 2
    assert found["ratio"] > 0
    assert "2 seeds beside each other take " in gpu.section_of([], tmp_path, [])


def test_the_page_is_written_twice_with_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Results\n\nText.\n")
    monkeypatch.setattr(gpu, "REPRODUCTION", page)
    monkeypatch.setattr(gpu, "parts_of", lambda out, changes: [])
    gpu.main(["--out", str(tmp_path / "out")])
    assert page.read_text().startswith("# Results\n\nText.\n\n## On a GPU\n\n<!-- generated: gpu -->\n`python ")
    (tmp_path / "out" / "whole").mkdir(parents=True)
    summary = {"epochs": 240, "seconds": 210.0, "student": {"top1_last": 87.654}}
    (tmp_path / "out" / "whole" / "summary.json").write_text(json.dumps(summary))
    section = gpu.section_of(
        [Outcome("bench", "interrupted", 12.3), Outcome("whole", "finished", 210)], tmp_path / "out", []
    )
    page.write_text(gpu.with_section(page.read_text(), section))
    text = page.read_text()
    assert text.count("## On a GPU") == text.count(gpu.BEGIN) == text.count(gpu.END) == 1
    assert "- bench: interrupted after 12 s; the same command goes on\n- whole: finished in 210 s" in text
    assert "240 epochs in 3.5 minutes: top-1 87.65." in text
