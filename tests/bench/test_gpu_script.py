"""The script for a GPU: its commands are understood, and it writes its part of the page."""

import json
from pathlib import Path

import gpu
import pytest
from timed_parts import Outcome

from smskd.recipe import read


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
    assert {"teacher", "whole", "evidence"} <= set(parts)


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
