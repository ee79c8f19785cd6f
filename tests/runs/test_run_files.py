"""The files of a finished run: their names, the summary, metrics and weights."""

import json
import stat
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import smskd
from smskd import models
from smskd.errors import UserError
from smskd.models import save_weights
from smskd.recipe import read
from smskd.recipe.absolute_paths import absolute_paths
from smskd.runs.reader import load_run
from smskd.strategies.resolve import resolve
from smskd.timing import PARTS
from smskd.training.accuracy import evaluate
from smskd.training.pretraining import PretrainingReport
from smskd.training.reports import EpochReport
from tests.support import tiny
from tests.support.digits_recipes import digits_recipe
from tests.support.program import everything_in
from tests.support.run_folders import write_run

SEED_3 = {"device": "cpu", "seed": 3}


@pytest.fixture(scope="module")
def folder(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    smskd.train(digits_recipe(teacher, runtime=SEED_3), out=out)
    return out


class TestFiles:
    def test_all_are_there_and_no_other(self, folder: Path) -> None:
        found = {name for name in everything_in(folder) if not name.startswith("charts")}
        assert found == {
            "stages",
            "stages/1",
            "stages/2",
            "recipe.yaml",
            "environment.json",
            "metrics.jsonl",
            "summary.json",
            "report.html",
            "student.safetensors",
            "stages/1/student.safetensors",
            "stages/1/terms.safetensors",
            "stages/2/student.safetensors",
        }

    def test_the_recipe_can_be_trained_again(self, folder: Path, teacher: Path, tmp_path: Path) -> None:
        again = read(folder / "recipe.yaml")
        assert resolve(again) == resolve(absolute_paths(digits_recipe(teacher, runtime=SEED_3)))
        smskd.train(again, out=tmp_path / "again")
        assert tiny.outcome(tmp_path / "again") == tiny.outcome(folder)

    def test_environment(self, folder: Path) -> None:
        value = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        assert value["torch"] == torch.__version__
        assert value["python"] == ".".join(map(str, sys.version_info[:3]))
        assert value["device"] == "cpu"
        assert value["threads"] == torch.get_num_threads()
        assert {"smskd", "platform", "processor", "cores", "device_name", "tf32"} < value.keys()

    def test_metrics_have_a_line_an_epoch(self, folder: Path) -> None:
        lines = tiny.metrics(folder)
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
        assert [line["stage"] for line in lines] == [1, 1, 2, 2]
        assert [list(line["losses"]) for line in lines[1:3]] == [
            ["total", "ce", "fitnet"],
            ["total", "ce", "kd", "anchor"],
        ]
        assert all("test" not in line and "validation_top1" not in line for line in lines)

    def test_others_may_read_the_weights(self, folder: Path) -> None:
        modes = {stat.S_IMODE((folder / name).stat().st_mode) for name in ("student.safetensors", "summary.json")}
        assert len(modes) == 1


class TestSummary:
    def test_keys(self, folder: Path) -> None:
        summary = tiny.summary(folder)
        assert summary.keys() == {
            "format", "name", "seed", "seconds", "epochs", "data", "student", "teacher", "stages",
            "notes", "skipped_steps", "digest", "identity",
        }  # fmt: skip
        assert summary["student"].keys() == {
            "model", "parameters", "macs", "features", "latency_milliseconds",
            "top1_last", "top5_last", "top1_best", "best_epoch", "validation_top1_best", "top1", "top5",
        }  # fmt: skip
        assert summary["teacher"].keys() == {
            "model", "parameters", "macs", "features", "latency_milliseconds", "top1_last", "top5_last",
        }  # fmt: skip
        assert all(summary[role]["latency_milliseconds"].keys() == {"1", "64"} for role in ("student", "teacher"))
        for entry in summary["stages"]:
            assert entry.keys() == {
                "index", "methods", "epochs", "anchor", "top1_last", "top1_best", "top1_carried",
                "retained", "forgotten", "learned", "never_known", "cost", "stored",
            }  # fmt: skip

    def test_the_cost_of_each_stage(self, folder: Path) -> None:
        for entry in tiny.summary(folder)["stages"]:
            cost = entry["cost"]
            assert cost.keys() == {
                "milliseconds",
                "step_milliseconds",
                "images_per_second",
                "peak_memory_bytes",
                "compiled",
                "replayed",
            }
            never = {"other"} if entry["index"] == 2 else {"other", "reference"}
            assert set(cost["milliseconds"]) == set(PARTS)
            assert {part for part, value in cost["milliseconds"].items() if value > 0} >= set(PARTS) - never
            assert (cost["milliseconds"]["reference"] > 0) == (entry["index"] == 2)

    def test_values(self, folder: Path) -> None:
        summary, lines = tiny.summary(folder), tiny.metrics(folder)
        top1 = [line["test_top1"] for line in lines]
        assert (summary["name"], summary["seed"], summary["epochs"]) == ("tiny", 3, 4)
        assert summary["seconds"] == pytest.approx(sum(line["seconds"] for line in lines), abs=0.06)
        assert summary["data"]["train_samples"] == tiny.TRAIN
        assert summary["data"]["test_samples"] == tiny.TEST
        assert len(summary["data"]["fingerprint"]) == 64
        student = summary["student"]
        assert (student["top1_last"], student["top1_best"], student["best_epoch"]) == (top1[-1], None, None)
        assert student["top5_last"] == lines[-1]["test_top5"]
        assert (student["top1"], student["top5"]) == (student["top1_last"], student["top5_last"])
        model = tiny.student()
        assert student["parameters"] == sum(parameter.numel() for parameter in model.parameters())
        assert student["macs"] == models.macs(model, tiny.SHAPE)
        assert [entry["index"] for entry in summary["stages"]] == [1, 2]
        assert [entry["methods"] for entry in summary["stages"]] == [["fitnet"], ["kd"]]
        assert [entry["epochs"] for entry in summary["stages"]] == [[1, 2], [3, 4]]
        assert [entry["anchor"] for entry in summary["stages"]] == [None, "reference_kl"]
        assert [entry["top1_last"] for entry in summary["stages"]] == [top1[1], top1[3]]
        assert [entry["top1_best"] for entry in summary["stages"]] == [None, None]

    def test_the_best_epoch_is_selected_by_validation(self, teacher: Path, tmp_path: Path) -> None:
        data = {"source": "digits", "subset": {"train": 60, "test": 40}, "validation": {"count": 20}}
        smskd.train(digits_recipe(teacher, data=data), out=tmp_path / "run")
        summary, lines = tiny.summary(tmp_path / "run"), tiny.metrics(tmp_path / "run")
        run = load_run(tmp_path / "run")
        best = run.best()
        assert best is not None
        assert best["validation_top1"] == max(line["validation_top1"] for line in lines)
        student = summary["student"]
        assert (student["best_epoch"], student["top1_best"]) == (best["epoch"], best["test_top1"])
        assert student["validation_top1_best"] == best["validation_top1"]
        of_stages = [run.best(stage) for stage in (1, 2)]
        assert [entry["top1_best"] for entry in summary["stages"]] == [
            entry and entry["test_top1"] for entry in of_stages
        ]
        assert (summary["data"]["train_samples"], summary["data"]["validation_samples"]) == (40, 20)

    def test_the_teachers_accuracy_is_its_own(self, folder: Path) -> None:
        summary = tiny.summary(folder)["teacher"]
        accuracy = evaluate(tiny.teacher(), tiny.evaluation_loader().epoch(0), classes=tiny.CLASSES)
        assert (summary["model"], summary["top1_last"], summary["top5_last"]) == (
            "resnet8_w4",
            accuracy.top1,
            accuracy.top5,
        )

    def test_without_a_teacher(self, teacher: Path, tmp_path: Path) -> None:
        plain = digits_recipe(teacher, teacher=None, methods=[], training={"epochs": 1, "batch_size": 20})
        assert smskd.train(plain, out=tmp_path / "plain").summary["teacher"] is None


class TestSyntheticRuns:
    """Tests of reader, comparison and page use runs that were not trained; they have the format of real ones."""

    @pytest.fixture
    def synthetic(self, tmp_path: Path) -> Path:
        return write_run(tmp_path / "run", pretraining=["ab"])

    def test_summary(self, folder: Path, synthetic: Path) -> None:
        real, made = tiny.summary(folder), tiny.summary(synthetic)
        assert made.keys() == real.keys()
        assert made["format"] == real["format"]
        for part in ("data", "student", "teacher"):
            assert made[part].keys() == real[part].keys()
        for made_stage, real_stage in zip(made["stages"], real["stages"], strict=True):
            assert made_stage.keys() == real_stage.keys()
            assert made_stage["cost"].keys() <= real_stage["cost"].keys()

    def test_metrics(self, folder: Path, synthetic: Path) -> None:
        assert tiny.metrics(synthetic)[0].keys() == tiny.metrics(folder)[0].keys()
        with_validation = write_run(synthetic.parent / "validation", best=60.0)
        optional = {"cache_hits", "skipped_steps", "transitions"}
        names = {field.name for field in fields(EpochReport)} - {"test", "validation"} - optional
        assert tiny.metrics(with_validation)[0].keys() == names

    def test_pretraining(self, synthetic: Path) -> None:
        line = load_run(synthetic).pretraining[0]
        assert line.keys() == {field.name for field in fields(PretrainingReport)}


class TestLoading:
    def test_gives_the_accuracy_of_the_summary(self, folder: Path) -> None:
        summary = tiny.summary(folder)
        model = smskd.load(folder)
        assert not model.training
        accuracy = evaluate(model, tiny.evaluation_loader().epoch(0), classes=tiny.CLASSES)
        assert (accuracy.top1, accuracy.top5) == (summary["student"]["top1"], summary["student"]["top5"])

    @pytest.mark.parametrize("stage", [1, 2])
    def test_gives_each_stages_student(self, folder: Path, stage: int) -> None:
        model = smskd.load(folder / "stages" / str(stage) / "student.safetensors")
        accuracy = evaluate(model, tiny.evaluation_loader().epoch(0), classes=tiny.CLASSES)
        assert accuracy.top1 == tiny.summary(folder)["stages"][stage - 1]["top1_carried"]

    def test_the_last_stages_student_is_the_result(self, folder: Path) -> None:
        last = load_file(folder / "stages" / "2" / "student.safetensors")
        assert tiny.same(last, load_file(folder / "student.safetensors"))

    def test_the_result_of_train_is_the_file(self, teacher: Path, tmp_path: Path) -> None:
        result = smskd.train(digits_recipe(teacher, training={"epochs": 3, "batch_size": 20}), out=tmp_path / "run")
        assert not result.student.training
        assert result.path == tmp_path / "run"
        assert result.summary == tiny.summary(tmp_path / "run")
        assert tiny.same(tiny.bits(result.student), load_file(tmp_path / "run" / "student.safetensors"))

    def test_a_foreign_file(self, tmp_path: Path) -> None:
        save_weights(tiny.student(), tmp_path / "weights.safetensors")
        with pytest.raises(UserError, match="do not name their network"):
            smskd.load(tmp_path / "weights.safetensors")
        with pytest.raises(UserError, match="there is no file"):
            smskd.load(tmp_path / "nothing.safetensors")
