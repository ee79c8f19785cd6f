"""The analysis of a run: what it finds is what training noted down."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from smskd.diagnostics import RunAnalysis, analyse
from smskd.errors import UserError
from smskd.models import save_weights
from smskd.recipe import parse
from smskd.runs import term_files
from smskd.runs.folder import RunFolder
from smskd.runs.tensor_files import read_tensors, write_tensors
from smskd.session import begin
from smskd.training.globals import preserved_globals
from tests.support import tiny
from tests.support.program import fine, mistake
from tests.support.run_folders import write_run


@pytest.fixture(scope="module")
def found(run: Path) -> RunAnalysis:
    return analyse(run)


def test_accuracies_and_transitions_are_those_of_the_summary(run: Path, found: RunAnalysis) -> None:
    summary = tiny.summary(run)
    assert [stage.parts["test"].top1 for stage in found.stages] == pytest.approx(
        [stage["top1_carried"] for stage in summary["stages"]]
    )
    moved = found.stages[1].parts["test"].transfer
    assert moved is not None
    for name in ("retained", "forgotten", "learned", "never_known"):
        assert getattr(moved.all, name) == summary["stages"][1][name]
        assert sum(getattr(each, name) for each in moved.by_class.values()) == summary["stages"][1][name]
    assert len(moved.forgotten) == moved.all.forgotten
    assert found.teacher_top1["test"] == pytest.approx(summary["teacher"]["top1_last"])


def test_every_part_is_measured(found: RunAnalysis) -> None:
    assert [stage.methods for stage in found.stages] == [("fitnet",), ("kd",)]
    for stage in found.stages:
        assert {part: each.images for part, each in stage.parts.items()} == {"train": 90, "validation": 30, "test": 90}
        for each in stage.parts.values():
            assert each.agreement is not None
            assert sum(each.tcp.histogram) == pytest.approx(1)
            assert sum(item.images for item in each.calibration.bins) == each.images
        assert set(stage.cka_teacher) == {"stage1", "stage2", "stage3", "pooled"}
    assert found.stages[0].cka_previous == {}
    assert found.stages[0].negative_transfer is None
    assert isinstance(found.stages[1].negative_transfer, bool)
    assert all(0 < value <= 1 for value in found.stages[1].cka_previous.values())


def test_gradients_of_the_parts_are_compared(found: RunAnalysis) -> None:
    first, second = (stage.conflict for stage in found.stages)
    assert first is not None
    assert second is not None
    assert (first.left_out, second.left_out) == ({}, {})
    assert [pair.parts for pair in first.pairs] == [("ce", "fitnet")]
    assert [pair.parts for pair in second.pairs] == [("ce", "kd"), ("ce", "anchor"), ("kd", "anchor")]
    assert {cosine.batches for pair in second.pairs for cosine in pair.cosines.values()} == {5}
    assert set(second.norms["anchor"]) == {"all", "stage1", "stage2", "stage3", "classifier"}
    assert all(value > 0 for value in second.norms["anchor"].values())


def test_the_modules_of_a_stage_are_those_at_its_end(tmp_path: Path) -> None:
    """The folder has what the store has; the reference is kept where it is not the student that was carried on."""
    save_weights(tiny.teacher(), tmp_path / "teacher.safetensors")
    recipe = parse(
        {
            "data": {"source": "digits", "subset": {"train": 60, "test": 40}},
            "teacher": {"name": "resnet8_w4", "weights": str(tmp_path / "teacher.safetensors")},
            "student": "resnet8_w2",
            "training": {"epochs": 4, "batch_size": 20},
            "stages": [{"methods": ["fitnet"], "epochs": 2, "reference": "ema"}, {"methods": ["vid"], "epochs": 2}],
            "runtime": {"device": "cpu", "store": str(tmp_path / "store")},
        }
    )
    begun = begin(recipe, tmp_path / "run")
    list(begun.train(begun.build(), report=False))
    stored = [read_tensors(path, own=True) for path in (tmp_path / "store").glob("*.safetensors")]
    for tensors, metadata in stored:
        stage = 1 + json.loads(metadata["stage"])["counters"]["stage"]
        terms, reference = term_files.read(tmp_path / "run", stage)
        assert tiny.same(terms, {key[6:]: value for key, value in tensors.items() if key.startswith("terms.")})
        if stage == 2:
            assert tiny.same(
                reference, {key[10:]: value for key, value in tensors.items() if key.startswith("reference.")}
            )
    assert len(stored) == 2
    assert begun.folder.damages() == []

    found = analyse(tmp_path / "run").stages
    assert found[1].conflict is not None
    assert [pair.parts for pair in found[1].conflict.pairs] == [("ce", "vid"), ("ce", "anchor"), ("vid", "anchor")]
    zeros = {f"terms.{name}": 0 * value for name, value in term_files.read(tmp_path / "run", 1)[0].items()}
    write_tensors(term_files.of_stage(tmp_path / "run", 1), zeros)
    (first, _) = analyse(tmp_path / "run", gradient_batches=1, train_images=10).stages
    assert first.conflict is not None
    assert first.conflict.norms["fitnet"]["all"] == 0  # a regressor of zeros gives the student no gradient
    for stage in (1, 2):
        term_files.of_stage(tmp_path / "run", stage).unlink()
    lost = analyse(tmp_path / "run").stages
    assert lost[1].conflict is not None
    assert set(lost[1].conflict.left_out) == {"vid", "anchor"}
    assert lost[1].conflict.pairs == ()
    assert lost[0].conflict is not None
    assert lost[0].conflict.left_out == {"fitnet": "modules at the end of the stage are not in the folder of the run"}


def test_a_damaged_file_of_modules_is_told(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "damaged")
    file = term_files.of_stage(tmp_path / "damaged", 1)
    file.write_bytes(file.read_bytes()[:-1])
    assert [problem.partition(" is damaged")[0] for problem in RunFolder(tmp_path / "damaged").damages()] == [str(file)]
    assert mistake("analyse", tmp_path / "damaged").startswith(f"{file} is damaged")


def test_training_images_are_limited_and_each_class_has_its_share(run: Path) -> None:
    found = analyse(run, train_images=20)
    part = found.stages[1].parts["train"]
    assert part.images == 20
    assert part.transfer is not None
    images = [
        each.retained + each.forgotten + each.learned + each.never_known for each in part.transfer.by_class.values()
    ]
    assert set(images) <= {1, 2, 3}


def test_nothing_is_written_and_no_global_state_changes(run: Path) -> None:
    import torch

    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    state = torch.get_rng_state()
    with preserved_globals():
        analyse(run, train_images=10)
    analyse(run, train_images=10)
    assert torch.equal(state, torch.get_rng_state())
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_the_command(run: Path, found: RunAnalysis) -> None:
    printed = json.loads(fine("analyse", run, "--json"))
    assert printed["runs"][0]["stages"][1]["parts"]["test"]["top1"] == pytest.approx(found.stages[1].parts["test"].top1)
    lines = list(csv.DictReader(io.StringIO(fine("analyse", run, "--csv"))))
    values = {(line["stage"], line["measure"]): line["value"] for line in lines}
    assert float(values["2", "parts.test.calibration.ece"]) == found.stages[1].parts["test"].calibration.ece
    assert float(values["2", "cka_previous.pooled"]) == found.stages[1].cka_previous["pooled"]
    assert (
        float(values["2", "conflict.cosine.kd-anchor.all.mean"])
        == found.stages[1].conflict.pairs[2].cosines["all"].mean
    )
    assert int(values["", "student.parameters"]) == tiny.summary(run)["student"]["parameters"]
    assert values["2", "cost.milliseconds.backward"]
    table = fine("analyse", run)
    assert "Capacity: " in table
    assert "Cost of the student (resnet8_w2): " in table
    assert "retained forgotten learned never known" in " ".join(table.split())
    assert len([line for line in table.splitlines() if line.split()[:3] == ["2", "kd", "validation"]]) == 2
    assert "linear CKA with the start of the stage" in table.replace("\n", " ")


def test_what_cannot_be_analysed_is_one_line(run: Path, tmp_path: Path) -> None:
    assert mistake("analyse", run, "--csv", "--json") == "give one of --csv, --json"
    write_run(tmp_path / "unfinished", finished=False)
    assert mistake("analyse", tmp_path / "unfinished").startswith(
        f"{tmp_path / 'unfinished'}: unfinished run; resume it with:"
    )
    shutil.copytree(run, tmp_path / "lost")
    (tmp_path / "lost/stages/1/student.safetensors").unlink()
    lost = tmp_path / "lost/stages/1/student.safetensors"
    assert mistake("analyse", tmp_path / "lost") == (
        f"{lost} is missing: the student at the end of stage 1 cannot be analysed"
    )


def test_other_data_than_those_of_training_are_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    recipe = tmp_path / "other/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("test: 90", "test: 80"))
    with pytest.raises(UserError, match="the test images are not those that the run was trained with"):
        analyse(tmp_path / "other")


def test_batches_of_gradients_may_be_none(run: Path) -> None:
    assert [stage.conflict for stage in analyse(run, gradient_batches=0, train_images=10).stages] == [None, None]
    with pytest.raises(UserError, match="gradient_batches is -1; it has to be 0 or more"):
        analyse(run, gradient_batches=-1)


def test_training_images_are_one_or_more(run: Path) -> None:
    with pytest.raises(UserError, match="train_images is 0; it has to be 1 or more"):
        analyse(run, train_images=0)
