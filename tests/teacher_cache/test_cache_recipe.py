"""`teacher.cache` in a recipe."""

from pathlib import Path
from typing import Any

import pytest

import smskd
from smskd import UserError
from smskd.models import save_weights
from smskd.recipe import parse, read, to_yaml
from smskd.recipe.absolute_paths import absolute_paths
from smskd.runs.folder import METRICS, RECIPE
from tests.support import tiny


def recipe(folder: Path, cache: Any = None) -> dict[str, Any]:
    weights = folder / "teacher.safetensors"
    if not weights.exists():
        save_weights(tiny.teacher(), weights)
    return {
        "name": "cached",
        "data": {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}},
        "teacher": {"name": "resnet8_w4", "weights": str(weights), **({} if cache is None else {"cache": cache})},
        "student": "resnet8_w2",
        "training": {"epochs": 3, "batch_size": tiny.BATCH},
        "schedule": {"decay_at": [2]},
        "runtime": {"device": "cpu"},
        "methods": ["fitnet", "kd"],
    }


def hits(folder: Path) -> list[float | None]:
    return [line.get("cache_hits") for line in tiny.metrics(folder)]


def test_runs_share_it(tmp_path: Path) -> None:
    for name, share in (("one", 0.0), ("two", 1.0)):
        given = recipe(tmp_path, {"mode": "disk", "folder": str(tmp_path / "cache")})
        smskd.train(parse(given), out=tmp_path / name)
        assert hits(tmp_path / name) == [None, None, share]
    assert tiny.outcome(tmp_path / "one") == tiny.outcome(tmp_path / "two")


def test_it_is_off_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSKD_CACHE", str(tmp_path / "cache"))
    smskd.train(parse(recipe(tmp_path)), out=tmp_path / "run")
    assert hits(tmp_path / "run") == [None, None, None]
    assert not (tmp_path / "cache").exists()


def test_off_is_a_word_and_not_a_truth_value(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe(tmp_path)), encoding="utf-8")
    for mode in ("off", "memory"):
        teacher = read(tmp_path / "recipe.yaml", [f"teacher.cache.mode={mode}"]).teacher
        assert teacher is not None
        assert teacher.cache.mode == mode


def test_a_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    full = absolute_paths(parse(recipe(tmp_path, {"mode": "disk", "folder": "own"})))
    assert full.teacher is not None
    assert full.teacher.cache.folder == str(tmp_path / "own")
    default = absolute_paths(parse(recipe(tmp_path, {"mode": "disk", "folder": None})))
    assert default.teacher is not None
    assert default.teacher.cache.folder is None


@pytest.mark.parametrize(("limit", "text"), [(3000, "3000"), ("2.5GB", "2.5GB")])
def test_a_limit_is_a_number_or_a_text(limit: Any, text: str, tmp_path: Path) -> None:
    given = recipe(tmp_path, {"limit": limit})
    made = parse(given)
    assert made.teacher is not None
    assert made.teacher.cache.limit == text
    (tmp_path / "recipe.yaml").write_text(to_yaml(given), encoding="utf-8")
    assert read(tmp_path / "recipe.yaml") == made


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        (
            {"limit": "16 apples"},
            "teacher.cache.limit: must be a size in bytes, such as 500MB or 16GB, not '16 apples'",
        ),
        ({"limit": True}, "teacher.cache.limit: must be a text, not true; write it in quotes: 'true'"),
        ({"mode": "disc"}, "teacher.cache.mode: must be 'off', 'memory', 'disk' or 'replay', not 'disc'"),
        ({"mod": "disk"}, "teacher.cache.mod: unknown key; did you mean 'mode'?"),
    ],
)
def test_mistakes(cache: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        parse(recipe(tmp_path, cache))
    assert str(caught.value) == f"recipe: {message}"


def test_a_refused_run_leaves_nothing(tmp_path: Path) -> None:
    limited = recipe(tmp_path, {"mode": "memory", "limit": "10kB"})
    with pytest.raises(
        UserError, match=r"take 15\.1 kB for the logits .* its limit is 10 kB: set teacher\.cache\.limit"
    ):
        smskd.train(parse(limited), out=tmp_path / "run")
    assert not any((tmp_path / "run" / name).exists() for name in (RECIPE, METRICS))


def test_a_student_has_no_cache(tmp_path: Path) -> None:
    given = recipe(tmp_path)
    with pytest.raises(UserError, match=r"student\.cache: unknown key"):
        parse({**given, "student": {"name": "resnet8_w2", "cache": {"mode": "memory"}}})
