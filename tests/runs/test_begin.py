"""Beginning and reopening runs: no run touches another, and a run that cannot begin leaves no files."""

from pathlib import Path
from typing import Any

import pytest

import smskd
from smskd import seeds, session
from smskd.errors import UserError
from smskd.runs.folder import RunFolder
from tests.support.digits_recipes import digits_recipe
from tests.support.program import everything_in


class TestAnotherRun:
    def test_is_refused_and_nothing_is_changed(self, teacher: Path, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        session.begin(digits_recipe(teacher), folder)
        before = everything_in(folder)
        with pytest.raises(UserError, match=r"holds another run; choose another folder.*smskd resume"):
            session.begin(digits_recipe(teacher, runtime={"seed": 9}), folder)
        assert everything_in(folder) == before

    @pytest.mark.parametrize(
        "name", ["recipe.yaml", "metrics.jsonl", "summary.json", "checkpoint.safetensors", "student.safetensors"]
    )
    def test_is_known_by_any_of_its_files(self, name: str, teacher: Path, tmp_path: Path) -> None:
        (tmp_path / name).write_text("something", encoding="utf-8")
        with pytest.raises(UserError, match="holds another run"):
            session.begin(digits_recipe(teacher), tmp_path)
        assert everything_in(tmp_path) == {name: b"something"}

    def test_no_seed_begins_if_one_is_refused(self, teacher: Path, tmp_path: Path) -> None:
        session.begin(digits_recipe(teacher), tmp_path / "seed1")
        before = everything_in(tmp_path)
        with pytest.raises(UserError, match="seed1 holds another run"):
            seeds.begin_seeds(digits_recipe(teacher), [0, 1, 2], tmp_path)
        assert everything_in(tmp_path) == before

    def test_other_files_in_the_folder_do_not_matter(self, teacher: Path, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
        session.begin(digits_recipe(teacher), tmp_path)
        assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"

    def test_a_file_is_no_folder(self, teacher: Path, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("", encoding="utf-8")
        with pytest.raises(UserError, match="is a file; a run needs a folder"):
            session.begin(digits_recipe(teacher), tmp_path / "run")


class TestARunThatCannotBegin:
    """Its folder is free for the next try."""

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"teacher": {"name": "resnet8_w4"}}, r"^teacher\.weights: a teacher needs trained weights"),
            (
                {"teacher": {"name": "resnet8_w4", "weights": "nowhere.pth"}},
                r"^teacher\.weights: .*there is no file",
            ),
            ({"student": "resnet8_w3"}, r"^student: unknown model 'resnet8_w3'"),
            ({"methods": [{"name": "fitnet", "hint_layer": 9}]}, "^fitnet: .*hint_layer 9"),
            ({"optimizer": {"learning_rate": 1e30}}, "no longer finite in epoch 1"),
        ],
    )
    def test_leaves_no_run(self, keys: dict[str, Any], message: str, teacher: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=message):
            smskd.train(digits_recipe(teacher, **keys), out=tmp_path)
        assert everything_in(tmp_path) == {}

    def test_but_one_that_is_resumed_stays(self, teacher: Path, tmp_path: Path) -> None:
        session.begin(digits_recipe(teacher, teacher={"name": "resnet8_w4", "weights": "nowhere.pth"}), tmp_path)
        (run,) = session.reopen(tmp_path)
        before = everything_in(tmp_path)
        with pytest.raises(UserError, match="there is no file"):
            run.build()
        assert everything_in(tmp_path) == before


class TestThePageIsMadeAfterTheRun:
    @pytest.mark.parametrize("error", [UserError("no page"), MemoryError(), OSError(28, "No space left on device")])
    def test_a_page_that_fails_is_a_sentence(
        self, error: Exception, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: Path) -> None:
            assert RunFolder(tmp_path).finished
            raise error

        recipe = digits_recipe(teacher, training={"epochs": 1, "batch_size": 30}, methods=[], schedule={"decay_at": []})
        monkeypatch.setattr(session, "write_run_report", fail)
        run = session.begin(recipe, tmp_path)
        for _ in run.train(run.build()):
            pass
        assert RunFolder(tmp_path).finished
        (sentence,) = run.problems
        assert sentence.startswith(f"the page of {tmp_path} could not be made (")
        assert sentence.endswith(f"); make it with: smskd report {tmp_path}")


class TestReopening:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder"):
            session.reopen(tmp_path / "nothing")
        with pytest.raises(UserError, match="holds no run"):
            session.reopen(tmp_path)

    def test_all_runs_below(self, teacher: Path, tmp_path: Path) -> None:
        seeds.begin_seeds(digits_recipe(teacher), [0, 1], tmp_path)
        assert [run.recipe.runtime.seed for run in session.reopen(tmp_path)] == [0, 1]
        assert [run.folder.finished for run in session.reopen(tmp_path)] == [False, False]

    def test_paths_hold_from_another_folder(
        self, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(teacher.parent)
        session.begin(digits_recipe(Path(teacher.name)), tmp_path / "run")
        monkeypatch.chdir(tmp_path)
        (run,) = session.reopen(tmp_path / "run")
        run.build()
