"""`teacher.cache` in a recipe."""

from pathlib import Path
from typing import Any

import pytest

import smskd
from smskd import UserError
from smskd import session as training
from smskd.build import absolute_paths
from smskd.models import save_weights
from smskd.recipe import parse, read, to_yaml
from smskd.runs.folder import METRICS, RECIPE
from tests.support import tiny


def recipe(folder: Path, **teacher: Any) -> dict[str, Any]:
    weights = folder / "teacher.safetensors"
    if not weights.exists():
        save_weights(tiny.teacher(), weights)
    return {
        "name": "cached",
        "data": {"name": "digits", "train_limit": tiny.TRAIN, "test_limit": tiny.TEST},
        "teacher": {"model": "resnet8_w4", "weights": str(weights), **teacher},
        "student": "resnet8_w2",
        "epochs": 3,
        "batch_size": tiny.BATCH,
        "schedule": {"decay_epochs": [2]},
        "device": "cpu",
        "methods": ["fitnet", "kd"],
    }


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its charts take more time than the runs."""
    monkeypatch.setattr(training, "write_run_report", lambda _: None)


def hits(folder: Path) -> list[float | None]:
    return [line.get("cache_hits") for line in tiny.metrics(folder)]


def test_runs_share_it(tmp_path: Path) -> None:
    for name, share in (("one", 0.0), ("two", 1.0)):
        smskd.train(parse(recipe(tmp_path, cache="disk", cache_folder=str(tmp_path / "cache"))), out=tmp_path / name)
        assert hits(tmp_path / name) == [None, None, share]
    assert tiny.outcome(tmp_path / "one") == tiny.outcome(tmp_path / "two")


def test_it_is_off_if_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "cache"))
    smskd.train(parse(recipe(tmp_path)), out=tmp_path / "run")
    assert hits(tmp_path / "run") == [None, None, None]
    assert not (tmp_path / "cache").exists()


def test_off_is_a_word_and_not_a_truth_value(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(parse(recipe(tmp_path))), encoding="utf-8")
    for words, expected in (("off", "off"), ("memory", "memory")):
        teacher = read(tmp_path / "recipe.yaml", [f"teacher.cache={words}"]).teacher
        assert teacher is not None
        assert teacher.cache == expected


def test_a_folder_means_the_same_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    full = absolute_paths(parse(recipe(tmp_path, cache="disk", cache_folder="own")))
    assert full.teacher is not None
    assert full.teacher.cache_folder == str(tmp_path / "own")
    assert parse({**recipe(tmp_path, cache_folder=None)}).teacher is not None


@pytest.mark.parametrize(("limit", "text"), [(3000, "3000"), ("2.5GB", "2.5GB")])
def test_a_limit_is_a_number_or_a_text(limit: Any, text: str, tmp_path: Path) -> None:
    made = parse(recipe(tmp_path, cache_limit=limit))
    assert made.teacher is not None
    assert made.teacher.cache_limit == text
    (tmp_path / "recipe.yaml").write_text(to_yaml(made), encoding="utf-8")
    assert read(tmp_path / "recipe.yaml") == made


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            {"cache_limit": "16 apples"},
            "teacher.cache_limit: must be a size in bytes, such as 500MB or 16GB, not '16 apples'",
        ),
        ({"cache_limit": True}, "teacher.cache_limit: must be a text, not true; write it in quotes: 'true'"),
        ({"cache": "replay"}, "teacher.cache: must be 'off', 'memory' or 'disk', not 'replay'"),
        ({"cach": "disk"}, "teacher.cach: unknown key; did you mean 'cache'?"),
    ],
)
def test_mistakes(teacher: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        parse(recipe(tmp_path, **teacher))
    assert str(caught.value) == f"recipe: {message}"


def test_a_run_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    limited = recipe(tmp_path, cache="memory", cache_limit="10kB")
    with pytest.raises(
        UserError, match=r"would take 15\.1 kB for the logits .* its limit is 10 kB: set cache_limit to"
    ):
        smskd.train(parse(limited), out=tmp_path / "run")
    assert not any((tmp_path / "run" / name).exists() for name in (RECIPE, METRICS))


def test_a_student_has_no_cache(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    with pytest.raises(UserError, match=r"student\.cache: unknown key"):
        parse({**made, "student": {"model": "resnet8_w2", "cache": "memory"}})
