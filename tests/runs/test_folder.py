"""Writing the folder of a run: checkpoints, and metrics that are truncated to them."""

from pathlib import Path

import pytest
import torch

from smskd.runs.folder import Checkpoint, RunFolder
from tests.support import tiny


class TestCheckpoint:
    def test_goes_to_disk_and_back(self, tmp_path: Path) -> None:
        tensors = {
            "student.weight": torch.randn(3, 2),
            "student.count": torch.tensor(7),
            "methods.state": torch.arange(5, dtype=torch.uint8),
            "optimizer.0.step": torch.tensor(2.0),
            "studentlike": torch.ones(1),
        }
        folder = RunFolder(tmp_path)
        assert folder.load_checkpoint() is None
        folder.save_checkpoint(Checkpoint(tensors, {"epoch": 3, "top5": None, "stages": [{"index": 1}]}))
        found = folder.load_checkpoint()
        assert found is not None
        assert found.values == {"epoch": 3, "top5": None, "stages": [{"index": 1}]}
        assert tiny.same(found.tensors, tensors)
        assert found.part("student").keys() == {"weight", "count"}

    def test_metrics_are_cut_to_it(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path)
        folder.truncate(0, 0)
        for epoch in (1, 2, 3):
            folder.append_metrics({"epoch": epoch})
        with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"epo')
        folder.truncate(2, 0)
        assert [line["epoch"] for line in tiny.metrics(tmp_path)] == [1, 2]

    def test_no_line_holds_what_is_no_json(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="JSON"):
            RunFolder(tmp_path).append_metrics({"loss": float("nan")})
