"""`smskd.distill`: the folder of a run, and resuming it."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import smskd
from smskd import OptimizerConfig, StageConfig, UserError
from smskd import session as training
from smskd.methods.kd import KD
from smskd.models import load_weights
from smskd.report.page import Page
from tests.support import tiny
from tests.support.own_data import Stop, distilled, floats, network, stopping_after


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts of the page take more time than the runs."""
    monkeypatch.setattr(training, "write_run_report", Page)


class TestResume:
    @pytest.mark.parametrize("epoch", [1, 2, 3])
    def test_ends_as_if_it_had_not_been_stopped(self, epoch: int, tmp_path: Path) -> None:
        expected = distilled(out=tmp_path / "whole")
        with pytest.raises(Stop):
            distilled(out=tmp_path / "run", on_epoch=stopping_after(epoch))
        seen: list[int] = []
        found = distilled(out=tmp_path / "run", resume=True, on_epoch=lambda report: seen.append(report.epoch))
        assert seen == list(range(epoch + 1, 5))
        assert tiny.same(tiny.bits(found.student), tiny.bits(expected.student))
        assert tiny.outcome(tmp_path / "run") == tiny.outcome(tmp_path / "whole")
        assert found.path == tmp_path / "run"

    def test_of_a_finished_run_gives_its_student(self, tmp_path: Path) -> None:
        first = distilled(out=tmp_path)
        before = tiny.outcome(tmp_path)
        again = distilled(out=tmp_path, resume=True, on_epoch=stopping_after(1))
        assert tiny.same(tiny.bits(again.student), tiny.bits(first.student))
        assert not again.student.training
        assert again.summary == first.summary
        with pytest.raises(UserError, match=r"was begun with other fingerprints\.student"):
            distilled(made=network(2, seed=9), out=tmp_path, resume=True)
        assert tiny.outcome(tmp_path) == before

    def test_needs_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="resume needs out"):
            distilled(resume=True)
        with pytest.raises(UserError, match="holds no run to go on with"):
            distilled(resume=True, out=tmp_path / "nothing")
        assert not (tmp_path / "nothing").exists()

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"stages": ["fitnet", "at"]}, r"stages\.1\.methods\.0\.name"),
            ({"stages": ["fitnet", KD(temperature=2)]}, r"stages\.1\.methods\.0\.temperature"),
            ({"seed": 4}, r"runtime\.seed"),
            ({"optimizer": OptimizerConfig(learning_rate=0.1)}, r"optimizer\.learning_rate"),
            ({"teacher": network(4, seed=9)}, r"weights, normalisation or classes of the teacher"),
            ({"made": network(2, seed=9)}, r"fingerprints\.student"),
            ({"train": floats("train")[::-1]}, r"training images"),
        ],
    )
    def test_needs_the_same_arguments(self, changes: dict[str, Any], key: str, begun: Path) -> None:
        with pytest.raises(UserError, match=rf"was begun with other .*{key}") as caught:
            distilled(out=begun, resume=True, **changes)
        assert "\n" not in str(caught.value)

    def test_more_epochs_are_taken_with_force_alone(self, tmp_path: Path) -> None:
        stages = [StageConfig(methods=("fitnet",), ends_after=2), "kd"]
        with pytest.raises(Stop):
            distilled(out=tmp_path, stages=stages, on_epoch=stopping_after(3))
        with pytest.raises(UserError, match=r"training\.epochs \(4, now 5\).*force=True"):
            distilled(out=tmp_path, stages=stages, epochs=5, resume=True)
        assert distilled(out=tmp_path, stages=stages, epochs=5, resume=True, force=True).summary["epochs"] == 5

    @pytest.fixture(scope="class")
    @classmethod
    def begun(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of a run that was stopped after its first epoch."""
        folder = tmp_path_factory.mktemp("begun")
        with pytest.raises(Stop):
            distilled(out=folder, on_epoch=stopping_after(1))
        return folder


class TestFolder:
    def test_weights_are_those_of_the_student(self, tmp_path: Path) -> None:
        result = distilled(out=tmp_path)
        assert tiny.same(load_file(tmp_path / "student.safetensors"), tiny.bits(result.student))
        fresh = network(2, seed=5)
        load_weights(fresh, tmp_path)
        assert tiny.same(tiny.bits(fresh), tiny.bits(result.student))
        assert result.summary == tiny.summary(tmp_path)
        with pytest.raises(UserError, match=r"of a network of your own .*: build it, and give it to"):
            smskd.load(tmp_path)

    def test_of_another_run_is_left_alone(self, tmp_path: Path) -> None:
        distilled(out=tmp_path, stages=["kd"], epochs=1)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(UserError, match="holds another run"):
            distilled(out=tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    def test_is_free_again_if_the_run_cannot_begin(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="the teacher has 7 output classes, the student 10"):
            distilled(out=tmp_path, teacher=network(4, 2, classes=7))
        distilled(out=tmp_path, stages=["kd"], epochs=1)
