"""The folder of a run: what is in it, that it can be read again, and that no other run touches it."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import smskd
from tests.support import tiny
from smskd import models
from smskd import session as training
from smskd.cli.train import resume_runs
from smskd.errors import UserError
from smskd.models import save_weights
from smskd.recipe import Recipe, parse, read
from smskd.runs.folder import Checkpoint, RunFolder
from smskd.strategies.resolve import plan
from smskd.timing import PARTS
from smskd.training.accuracy import evaluate


def recipe(weights: Path, **keys: Any) -> Recipe:
    return parse(
        {
            "name": "tiny",
            "data": {"name": "digits", "train_limit": tiny.TRAIN, "test_limit": tiny.TEST},
            "teacher": {"model": "resnet8_w4", "weights": str(weights)},
            "student": "resnet8_w2",
            "epochs": 4,
            "batch_size": tiny.BATCH,
            "schedule": {"decay_epochs": [2, 3]},
            "device": "cpu",
            "methods": ["fitnet", "kd"],
            **keys,
        }
    )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_weights(tiny.teacher(), file)
    return file


@pytest.fixture(scope="module")
def folder(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    smskd.train(recipe(teacher, seed=3), out=out)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestFiles:
    def test_all_are_there_and_no_other(self, folder: Path) -> None:
        found = {name for name in contents(folder) if not name.startswith("charts/")}
        assert found == {
            "recipe.yaml",
            "environment.json",
            "metrics.jsonl",
            "summary.json",
            "report.html",
            "student.safetensors",
            "stages/1/student.safetensors",
            "stages/2/student.safetensors",
        }

    def test_the_recipe_can_be_trained_again(self, folder: Path, teacher: Path, tmp_path: Path) -> None:
        again = read(folder / "recipe.yaml")
        assert plan(again) == plan(recipe(teacher, seed=3))
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
            ["total", "class", "fitnet"],
            ["total", "class", "kd", "anchor"],
        ]
        assert all("test" not in line for line in lines)

    def test_others_may_read_the_weights(self, folder: Path) -> None:
        modes = {stat.S_IMODE((folder / name).stat().st_mode) for name in ("student.safetensors", "summary.json")}
        assert len(modes) == 1


class TestSummary:
    def test_keys(self, folder: Path) -> None:
        summary = tiny.summary(folder)
        assert summary.keys() == {
            "format", "name", "seed", "seconds", "epochs", "data", "student", "teacher", "stages",
        }  # fmt: skip
        assert summary["student"].keys() == {
            "model", "parameters", "macs", "latency_milliseconds",
            "top1_last", "top1_best", "top5_last", "top1", "top5",
        }  # fmt: skip
        assert summary["teacher"].keys() == {
            "model", "parameters", "macs", "latency_milliseconds", "top1_last", "top5_last",
        }  # fmt: skip
        assert all(summary[role]["latency_milliseconds"].keys() == {"1", "64"} for role in ("student", "teacher"))
        for entry in summary["stages"]:
            assert entry.keys() == {
                "index", "methods", "epochs", "anchor", "top1_last", "top1_best", "top1_carried",
                "retained", "forgotten", "learned", "never_known", "cost",
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
        assert (student["top1_last"], student["top1_best"]) == (top1[-1], max(top1))
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
        assert [entry["top1_best"] for entry in summary["stages"]] == [max(top1[:2]), max(top1[2:])]

    def test_the_teachers_accuracy_is_its_own(self, folder: Path) -> None:
        summary = tiny.summary(folder)["teacher"]
        accuracy = evaluate(tiny.teacher(), tiny.evaluation_loader().epoch(0), classes=tiny.CLASSES)
        assert (summary["model"], summary["top1_last"], summary["top5_last"]) == (
            "resnet8_w4",
            accuracy.top1,
            accuracy.top5,
        )

    def test_without_a_teacher(self, teacher: Path, tmp_path: Path) -> None:
        plain = recipe(teacher, teacher=None, methods=[], epochs=1)
        assert smskd.train(plain, out=tmp_path / "plain").summary["teacher"] is None


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
        result = smskd.train(recipe(teacher, epochs=3), out=tmp_path / "run")
        assert not result.student.training
        assert result.path == tmp_path / "run"
        assert result.summary == tiny.summary(tmp_path / "run")
        assert tiny.same(tiny.bits(result.student), load_file(tmp_path / "run" / "student.safetensors"))

    def test_a_foreign_file(self, tmp_path: Path) -> None:
        save_weights(tiny.student(), tmp_path / "weights.safetensors")
        with pytest.raises(UserError, match="does not say which model"):
            smskd.load(tmp_path / "weights.safetensors")
        with pytest.raises(UserError, match="there is no file"):
            smskd.load(tmp_path / "nothing.safetensors")


class TestAnotherRun:
    def test_is_refused_and_nothing_is_changed(self, folder: Path, teacher: Path) -> None:
        before = contents(folder)
        with pytest.raises(UserError, match=r"holds another run; choose another folder.*smskd resume"):
            training.begin(recipe(teacher, seed=9), folder)
        assert contents(folder) == before

    @pytest.mark.parametrize("name", ["recipe.yaml", "metrics.jsonl", "summary.json", "checkpoint.safetensors"])
    def test_is_known_by_any_of_its_files(self, name: str, teacher: Path, tmp_path: Path) -> None:
        (tmp_path / name).write_text("something", encoding="utf-8")
        with pytest.raises(UserError, match="holds another run"):
            training.begin(recipe(teacher), tmp_path)
        assert contents(tmp_path) == {name: b"something"}

    def test_no_seed_begins_if_one_is_refused(self, teacher: Path, tmp_path: Path) -> None:
        training.begin(recipe(teacher), tmp_path / "seed1")
        before = contents(tmp_path)
        with pytest.raises(UserError, match="seed1 holds another run"):
            training.begin_seeds(recipe(teacher), [0, 1, 2], tmp_path)
        assert contents(tmp_path) == before

    def test_files_of_other_kinds_are_no_hindrance(self, teacher: Path, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
        training.begin(recipe(teacher), tmp_path)
        assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"

    def test_a_file_is_no_folder(self, teacher: Path, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("", encoding="utf-8")
        with pytest.raises(UserError, match="is a file; a run needs a folder"):
            training.begin(recipe(teacher), tmp_path / "run")


class TestARunThatCannotBegin:
    """Its folder is free for the next try."""

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"teacher": {"model": "resnet8_w4"}}, r"^teacher\.weights: a teacher needs trained weights"),
            (
                {"teacher": {"model": "resnet8_w4", "weights": "nowhere.pth"}},
                r"^teacher\.weights: .*there is no file",
            ),
            ({"student": "resnet8_w3"}, r"^student: there is no model 'resnet8_w3'"),
            ({"methods": [{"name": "fitnet", "hint_layer": 9}]}, "^fitnet: .*hint_layer 9"),
            ({"optimizer": {"learning_rate": 1e30}}, "no longer finite in epoch 1"),
        ],
    )
    def test_leaves_no_run(self, keys: dict[str, Any], message: str, teacher: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=message):
            smskd.train(recipe(teacher, **keys), out=tmp_path)
        assert contents(tmp_path) == {}

    def test_but_one_that_is_resumed_stays(self, teacher: Path, tmp_path: Path) -> None:
        training.begin(recipe(teacher, teacher={"model": "resnet8_w4", "weights": "nowhere.pth"}), tmp_path)
        (run,) = training.reopen(tmp_path)
        before = contents(tmp_path)
        with pytest.raises(UserError, match="there is no file"):
            run.setup()
        assert contents(tmp_path) == before


class TestThePageIsPartOfTheRun:
    def test_killed_before_it_was_written(self, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Killed(BaseException):
            pass

        def kill(_: Path) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(training, "write_run_report", kill)
            with pytest.raises(Killed):
                smskd.train(recipe(teacher, seed=5), out=tmp_path)
        before = tiny.summary(tmp_path)
        assert not RunFolder(tmp_path).finished
        resume_runs(tmp_path, quiet=False, as_json=False)
        assert (tmp_path / "report.html").is_file()
        assert RunFolder(tmp_path).finished
        assert tiny.without_times([tiny.summary(tmp_path)]) == tiny.without_times([before])
        written = contents(tmp_path)
        with pytest.raises(UserError, match="is finished, nothing is left to train"):
            resume_runs(tmp_path, quiet=False, as_json=False)
        assert contents(tmp_path) == written


class TestReopening:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder"):
            training.reopen(tmp_path / "nothing")
        with pytest.raises(UserError, match="holds no run"):
            training.reopen(tmp_path)

    def test_all_runs_below(self, teacher: Path, tmp_path: Path) -> None:
        training.begin_seeds(recipe(teacher), [0, 1], tmp_path)
        assert [run.recipe.seed for run in training.reopen(tmp_path)] == [0, 1]
        assert [run.folder.finished for run in training.reopen(tmp_path)] == [False, False]

    def test_paths_hold_from_another_folder(
        self, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(teacher.parent)
        training.begin(recipe(Path(teacher.name)), tmp_path / "run")
        monkeypatch.chdir(tmp_path)
        (run,) = training.reopen(tmp_path / "run")
        run.setup()


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
