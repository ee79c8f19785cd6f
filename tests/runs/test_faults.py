"""Files that are damaged, missing or cannot be written: nothing is lost, and nothing wrong goes through."""

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import smskd
from smskd import seeds, session
from smskd.cli.train import resume_runs
from smskd.errors import UserError
from smskd.runs.folder import RunFolder
from smskd.runs.lock import locked
from smskd.training import checkpoints
from tests.support import tiny
from tests.support.program import everything_in
from tests.support.short_run import EPOCHS, reports, resumed, short_recipe, stopped, trained


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of the run that nothing happened to."""
    return tiny.outcome(trained(tmp_path_factory.mktemp("straight") / "run"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs, stopped after the third; two checkpoints are kept."""
    return stopped(tmp_path_factory.mktemp("half") / "run", after=3, epochs=4, keep_checkpoints=2)


@pytest.fixture
def copy(half: Path, tmp_path: Path) -> Path:
    shutil.copytree(half, tmp_path / "run")
    return tmp_path / "run"


def flip(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    file.write_bytes(content)


class TestDamage:
    @pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9, 1.0])
    @pytest.mark.parametrize("name", ["checkpoint.safetensors", "metrics.jsonl", "summary.json", "environment.json"])
    def test_a_flipped_bit_does_not_go_through(
        self, name: str, place: float, copy: Path, finished: Path, tmp_path: Path
    ) -> None:
        if name == "summary.json":
            copy = tmp_path / "finished"
            shutil.copytree(finished, copy)
        flip(copy / name, place)
        folder = RunFolder(copy)
        if name == "checkpoint.safetensors":
            (copy / "checkpoint.1.safetensors").unlink()
            with pytest.raises(UserError, match=r"checkpoint\.safetensors is damaged \(.*remove it and metrics\.jsonl"):
                folder.load_checkpoint()
        elif name == "metrics.jsonl":
            with pytest.raises(UserError, match=r"metrics\.jsonl is damaged: . of 3 epochs are in it; remove it and"):
                folder.truncate(3, 0)
        elif name == "summary.json":
            with pytest.raises(UserError, match=r"summary\.json is damaged"):
                folder.load_summary()
        else:
            assert folder.load_environment() is None

    def test_the_checkpoint_before_the_newest_is_taken(self, copy: Path, tmp_path: Path) -> None:
        flip(copy / "checkpoint.safetensors", 0.8)
        found = resumed(copy)
        straight = tiny.outcome(trained(tmp_path / "straight", epochs=4))
        assert found["weights"] == straight["weights"]
        assert found["metrics"] == straight["metrics"]
        (note,) = tiny.summary(copy)["notes"]
        assert "checkpoint.safetensors is damaged" in note
        assert "went on from the checkpoint before it" in note

    def test_side_files_are_made_anew(self, copy: Path) -> None:
        (copy / "environment.json").write_bytes(b"{\xff")
        os.utime(copy / "checkpoint.safetensors", (2**32, 2**32))  # the clock was wrong
        resumed(copy)
        assert (RunFolder(copy).load_environment() or {})["torch"] == torch.__version__


class TestGone:
    def test_the_student_of_a_finished_run_is_written_again(self, finished: Path, tmp_path: Path) -> None:
        copy = tmp_path / "run"
        shutil.copytree(finished, copy)
        (copy / "student.safetensors").unlink()
        resume_runs(copy, quiet=True, as_json=False)
        assert (copy / "student.safetensors").read_bytes() == (finished / "student.safetensors").read_bytes()

        flip(copy / "student.safetensors", 0.7)
        resume_runs(copy, quiet=True, as_json=False)
        assert (copy / "student.safetensors").read_bytes() == (finished / "student.safetensors").read_bytes()

        (copy / "student.safetensors").unlink()
        (copy / "stages" / "1" / "student.safetensors").unlink()
        with pytest.raises(UserError, match=r"there is no file .*/student\.safetensors; there is no file .*/stages/1/"):
            resume_runs(copy, quiet=True, as_json=False)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("summary.json", r"summary\.json is missing, though the run has come to its end"),
            ("checkpoint.safetensors", r"checkpoint\.safetensors is missing, though 3 epochs are trained"),
        ],
    )
    def test_a_run_does_not_start_over_silently(
        self, name: str, message: str, copy: Path, finished: Path, tmp_path: Path
    ) -> None:
        if name == "summary.json":
            copy = tmp_path / "finished"
            shutil.copytree(finished, copy)
        for file in copy.glob(name.replace(".", "*.")):
            file.unlink()
        metrics = (copy / "metrics.jsonl").read_bytes()
        with pytest.raises(UserError, match=message):
            resume_runs(copy, quiet=True, as_json=False)
        assert (copy / "metrics.jsonl").read_bytes() == metrics

    def test_a_folder_that_is_removed_meanwhile_is_not_made_anew(self, tmp_path: Path) -> None:
        run = session.begin(short_recipe(), tmp_path / "run")
        training = reports(run)
        next(training)
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(UserError, match=r"cannot be written: No such file or directory"):
            next(training)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [3, 6, 7, 9, 11, 13, 15])
def test_a_full_disk(number: int, outcome: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file it hits: one line that names it, and the run ends as if nothing had happened."""
    sync, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    run = session.begin(short_recipe(), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"run/.* cannot be written: No space left on device"):
            list(reports(run))
    if not (tmp_path / "run" / "recipe.yaml").exists():  # nothing was trained yet: the folder is free again
        session.begin(short_recipe(), tmp_path / "run")
    assert resumed(tmp_path / "run") == outcome


class TestLock:
    def test_one_process_at_a_time(self, copy: Path) -> None:
        (run,) = session.reopen(copy)
        with locked(copy), pytest.raises(UserError, match="is in use: another process trains this run"):
            next(reports(run))
        assert not (copy / ".lock").exists()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
    def test_it_ends_with_its_process(self, tmp_path: Path) -> None:
        child = os.fork()
        if child == 0:
            with locked(tmp_path):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert (tmp_path / ".lock").exists()
        with locked(tmp_path):
            pass

    def test_a_run_of_another_process_is_not_discarded(self, tmp_path: Path) -> None:
        run = session.begin(short_recipe(), tmp_path)
        with locked(tmp_path):
            run.discard()
        assert (tmp_path / "recipe.yaml").exists()


class TestSeeds:
    class Killed(BaseException):
        pass

    def test_none_is_forgotten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        create = RunFolder.create

        def kill(folder: RunFolder, *arguments: Any) -> None:
            if folder.path.name == "seed4":
                raise self.Killed
            create(folder, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "create", kill)
            with pytest.raises(self.Killed):
                seeds.begin_seeds(short_recipe(), [3, 4, 5], tmp_path)
        with pytest.raises(UserError, match="holds runs that have not begun yet; begin them with: smskd resume"):
            seeds.begin_seeds(short_recipe(), [7], tmp_path)
        seeds.begin_missing(tmp_path)
        assert [run.recipe.runtime.seed for run in session.reopen(tmp_path)] == [3, 4, 5]
        assert not (tmp_path / "seeds.json").exists()

    def test_damage_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "seeds.json").write_text('{"runs": {}}')
        with pytest.raises(UserError, match=r"seeds\.json is damaged \(its checksum is missing\); remove it"):
            seeds.begin_missing(tmp_path)

    def test_one_that_cannot_go_on_does_not_keep_the_others(self, tmp_path: Path) -> None:
        stopped(tmp_path / "seed0", after=1)
        session.begin(short_recipe(seed=1), tmp_path / "seed1")
        flip(tmp_path / "seed0" / "checkpoint.safetensors", 0.9)
        with pytest.raises(UserError, match=r"^1 of 2 runs could not be trained: .*seed0/checkpoint.* is damaged"):
            resume_runs(tmp_path, quiet=True, as_json=False)
        assert RunFolder(tmp_path / "seed1").finished

    def test_damage_to_one_that_is_finished_is_told(self, finished: Path, tmp_path: Path) -> None:
        shutil.copytree(finished, tmp_path / "seed0")
        session.begin(short_recipe(seed=1), tmp_path / "seed1")
        flip(tmp_path / "seed0" / "metrics.jsonl", 0.7)
        before = everything_in(tmp_path / "seed0")
        with pytest.raises(UserError, match=r"^[^;]*seed0/metrics\.jsonl, line \d: damaged[^;]*$"):
            resume_runs(tmp_path, quiet=True, as_json=False)
        assert everything_in(tmp_path / "seed0") == before
        assert RunFolder(tmp_path / "seed1").finished

    def test_a_recipe_that_is_lost_is_told(self, finished: Path, tmp_path: Path) -> None:
        shutil.copytree(finished, tmp_path / "seed0")
        shutil.copytree(finished, tmp_path / "seed1")
        (tmp_path / "seed0" / "recipe.yaml").unlink()
        with pytest.raises(UserError, match=r"seed0/recipe\.yaml is missing, though there are other files of a run"):
            resume_runs(tmp_path, quiet=True, as_json=False)


def test_each_damage_to_a_finished_run_is_told(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    folder = RunFolder(copy)
    assert folder.damages() == []
    for file in [path for path in copy.rglob("*") if path.suffix in (".json", ".jsonl", ".safetensors")]:
        right = file.read_bytes()
        for place in (0.0, 0.3, 0.7, 1.0):
            flip(file, place)
            told = folder.damages()
            assert any(str(file) in sentence for sentence in told), (file, place)
            file.write_bytes(right)
        file.unlink()
        assert any(str(file) in sentence for sentence in folder.damages()), file
        file.write_bytes(right)
    assert folder.damages() == []


def test_a_page_that_was_not_made_is_made(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / "report.html").unlink(missing_ok=True)
    (copy / "charts").mkdir(exist_ok=True)
    left = [copy / ".report.html.1789.tmp", copy / "charts" / ".accuracy.svg.1789.tmp"]
    for path in left:
        path.write_text("<html>")
    resume_runs(copy, quiet=True, as_json=False)
    assert (copy / "report.html").is_file()
    assert (copy / "charts" / "accuracy.svg").is_file()
    assert [path.name for path in left if path.exists()] == []
    with pytest.raises(UserError, match="is finished"):
        resume_runs(copy, quiet=True, as_json=False)


def test_the_files_to_remove_are_named(copy: Path) -> None:
    (copy / "pretraining.jsonl").write_text("")
    (copy / "checkpoint.1.safetensors").unlink()
    flip(copy / "checkpoint.safetensors", 0.7)
    with pytest.raises(UserError, match=r"remove it and metrics\.jsonl and pretraining\.jsonl to start the run again"):
        RunFolder(copy).load_checkpoint()


def test_the_student_of_a_stage_that_is_lost_is_told(copy: Path) -> None:
    made = session.reopen(copy)[0].build()
    folder = RunFolder(copy)
    folder.save_student(made.student.wrapped, {}, 1)
    flip(folder.stage_student(1), 0.9)
    damaged, missing = checkpoints.Checkpoints(made, folder)._missing_students(2)
    assert "is damaged" in damaged
    assert "there is no file" in missing


def test_only_own_temporary_files_are_removed(copy: Path) -> None:
    others = [copy / ".thesis.tmp", copy / "notes" / ".metrics.jsonl.7.tmp", copy / ".cache.1.tmp"]
    own = [copy / ".metrics.jsonl.12.tmp", copy / ".checkpoint.safetensors.3.tmp"]
    (copy / "notes").mkdir()
    for file in (*others, *own):
        file.write_text("x")
    (copy / ".summary.json.5.tmp").mkdir()
    RunFolder(copy).truncate(3, 0)
    assert all(file.exists() for file in others)
    assert not any(file.exists() for file in own)


def test_metrics_are_cut_by_their_epochs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for epoch in (1, 2, 2, 4, 3, 5):
        folder.append_metrics({"epoch": epoch, "copy": epoch})
    folder.truncate(3, 0)
    assert [line["epoch"] for line in tiny.metrics(tmp_path)] == [1, 2, 3]
    folder.append_metrics({"epoch": 5})
    with pytest.raises(UserError, match="3 of 4 epochs"):
        folder.truncate(4, 0)


def test_a_run_goes_on_with_the_threads_it_was_begun_with(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoints.environment
    folder = RunFolder(copy)
    found = folder.load_checkpoint()
    assert found is not None
    begun = {**found.values["environment"], "threads": 2, "torch": "2.0.0"}
    folder.save_checkpoint(type(found)(found.tensors, {**found.values, "environment": begun}))
    seen = []
    monkeypatch.setattr(
        checkpoints, "environment", lambda *a, **k: seen.append(torch.get_num_threads()) or real(*a, **k)
    )
    before = torch.get_num_threads()
    resumed(copy)
    assert seen == [2]
    assert torch.get_num_threads() == before
    (note,) = tiny.summary(copy)["notes"]
    assert note.startswith(f"The run was begun with torch 2.0.0, now {torch.__version__}")


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path, outcome: dict[str, Any]) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
    stopped(folder, after=1)
    (run,) = session.reopen(folder)
    list(reports(run))
    assert tiny.without_times(tiny.metrics(folder)) == outcome["metrics"]
    assert smskd.load(folder)


def test_checkpoints_by_minutes(tmp_path: Path) -> None:
    folder = RunFolder(stopped(tmp_path / "run", after=1, checkpoint_minutes=60.0))
    assert not folder.has_checkpoint
    assert len(resumed(folder.path)["metrics"]) == EPOCHS
