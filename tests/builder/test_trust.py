"""Names in recipes that others have written."""

from pathlib import Path
from typing import Any

import pytest

from smskd.builder.trust import check_names, foreign_name
from smskd.errors import UserError
from smskd.recipe import parse
from smskd.session import reopen
from tests.support.facts_cases import Evil
from tests.support.recipes import recipe

EVIL = "evil_module:make"
PLACES: list[dict[str, Any]] = [
    {"student": EVIL},
    {"student": {"name": "installed"}},
    {"teacher": {"name": EVIL, "weights": "w"}},
    {"data": {"source": EVIL}},
    {"data": {"source": {"name": "installed", "root": "x"}}},
    {"data": {"source": "digits", "validation": {"source": EVIL}}},
    {"methods": ["kd", EVIL]},
    {"methods": [{"name": EVIL, "temperature": 2}]},
    {"strategy": EVIL},
    {"strategy": {"name": EVIL}},
    {"anchor": EVIL},
    {"anchor": {"name": "toward_reference", "method": EVIL}},
    {"anchor": {"name": "toward_reference", "method": "installed"}},
    {"anchor": {"name": "toward_reference", "method": {"name": EVIL}}},
    {"stages": [{"methods": ["kd"], "ends_after": 1}, {"methods": [EVIL]}]},
    {"stages": [{"methods": ["kd"], "anchor": EVIL}]},
    {"stages": [{"methods": ["kd"], "teacher": {"name": EVIL, "weights": "w"}}]},
]


@pytest.mark.parametrize("keys", PLACES, ids=str)
def test_every_place_of_a_name(keys: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="which does not come with smskd: using it would import it") as caught:
        check_names(recipe(**keys), "runs/x/recipe.yaml")
    assert str(caught.value).startswith("runs/x/recipe.yaml names the ")
    assert EVIL in str(caught.value) or "installed" in str(caught.value)


def test_what_comes_with_the_package() -> None:
    anchor = {"name": "toward_reference", "method": {"name": "fitnet", "hint_layer": 3}}
    stages = [{"methods": ["fitnet"], "ends_after": 1}, {"methods": ["kd"], "anchor": anchor}]
    own = recipe(stages=stages, strategy="sequential", teacher={"name": "resnet14", "weights": "a:b"})
    assert foreign_name(own) is None
    assert foreign_name(recipe(methods="none", anchor=None)) is None


def test_python_objects_are_not_imported() -> None:
    """Where a run was made by a program, its objects stand in the recipe under the names of their classes."""
    assert foreign_name(recipe(student="<torch.nn.Sequential>", data={"source": "<builtins.list>"})) is None


def test_a_name_in_a_change_is_the_users_own() -> None:
    own = recipe(student=EVIL)
    assert foreign_name(own, [f"student={EVIL}"]) is None
    assert foreign_name(own, [f"student={{name: {EVIL}, options: {{a: 1}}}}"]) is None
    for changes in ([f"student={EVIL}2"], ["training.epochs=3"], [EVIL], [f"{EVIL}=1"]):
        assert foreign_name(own, changes) == f"model '{EVIL}'"


def test_a_folder_is_reopened_with_trust_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = Evil(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "run").mkdir()
    text = f"{{data: {{source: digits}}, student: resnet8_w2, methods: ['{EVIL}']}}"
    (tmp_path / "run" / "recipe.yaml").write_text(text)
    with pytest.raises(UserError, match=f"names the method '{EVIL}'.* add --trust"):
        reopen(tmp_path / "run")
    assert not evil.ran
    with pytest.raises(UserError, match="is not a subclass of"):
        reopen(tmp_path / "run", trust=True)
    assert evil.ran


def test_a_recipe_that_the_user_gives_is_the_users_word() -> None:
    assert parse({"data": "digits", "student": EVIL}).student.name == EVIL
