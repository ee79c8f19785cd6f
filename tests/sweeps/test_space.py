"""The runs of a sweep, and what they share."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from smskd.config.sweep import OrdersConfig, SearchConfig, SweepConfig
from smskd.errors import UserError
from smskd.recipe.shipped import sweep_file, sweep_names
from smskd.sweeps.plan import plan
from smskd.sweeps.space import name_of, points
from smskd.sweeps.sweep_file import Sweep, read_sweep

RECIPE = {"data": "digits", "student": "resnet8_w2", "teacher": {"name": "resnet8_w4", "weights": "w"}}


def written(folder: Path, recipe: Any = RECIPE, **keys: Any) -> Path:
    (folder / "short.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (folder / "own.yaml").write_text(yaml.safe_dump({"recipe": "short.yaml", **keys}), encoding="utf-8")
    return folder / "own.yaml"


def names(**keys: Any) -> list[str]:
    return [point.name for point in points(SweepConfig("r", **keys))]


def test_all_combinations_of_values() -> None:
    values = {"anchor.weight": (0.3, 0.4), "training.epochs": (10, 20)}
    assert names(values=values) == [
        "anchor.weight=0.3_training.epochs=10",
        "anchor.weight=0.3_training.epochs=20",
        "anchor.weight=0.4_training.epochs=10",
        "anchor.weight=0.4_training.epochs=20",
    ]


def test_all_orders_and_numbers_of_stages() -> None:
    assert names(orders=OrdersConfig(of=("a", "b"))) == ["a-b", "b-a"]
    assert names(orders=OrdersConfig(of=("a", "b", "c"), stages=(1, 2))) == [
        "a", "b", "c", "a-b", "a-c", "b-a", "b-c", "c-a", "c-b",
    ]  # fmt: skip
    first = points(SweepConfig("r", orders=OrdersConfig(of=("a", "b", "c"), epochs=(150, 90))))[0]
    stages = [{"methods": ["a"], "epochs": 150}, {"methods": ["b"], "epochs": 90}, {"methods": ["c"], "epochs": 90}]
    assert first.changes == {"stages": stages, "training.epochs": 330}


def test_pairs_belong_together_and_each_has_all_seeds() -> None:
    pairs = ({"teacher.name": "t1", "student.name": "s1"}, {"teacher.name": "t2", "student.name": "s2"})
    found = points(SweepConfig("r", pairs=pairs, values={"methods": (["kd"],)}, seeds=(3, 4)))
    assert [(point.name, point.seed) for point in found] == [
        (name, seed) for seed in (3, 4) for name in ("t1_s1_kd", "t2_s2_kd")
    ]


def test_names_can_be_those_of_folders() -> None:
    assert name_of("own", {}) == "own"
    assert name_of("own", {"methods": []}) == "plain"
    assert (
        name_of("own", {"teacher.weights": "runs/a/b.safetensors", "anchor": None}) == "teacher.weights=b_anchor=null"
    )
    assert name_of("own", {"methods": [{"name": "kd", "temperature": 2}]}) == "kd,temperature=2"
    assert "/" not in name_of("own", {"x": "../.."})
    long = [name_of("own", {"x": "y" * 500 + end}) for end in "ab"]
    assert len(set(long)) == 2
    assert max(map(len, long)) < 200


def test_runs_of_files_with_the_same_name_have_different_names() -> None:
    found = names(values={"teacher.weights": ("a/student.safetensors", "b/student.safetensors")})
    assert len(set(found)) == 2
    assert all(name.startswith("teacher.weights=student-") for name in found)
    assert names(values={"stages.0.ends_after": ("1/8", "3/8")}) == [
        "stages.0.ends_after=1-8",
        "stages.0.ends_after=3-8",
    ]
    with pytest.raises(UserError, match="the run x=1 is in it twice"):
        names(values={"x": (1, 1)})


def test_the_changes_are_those_of_the_recipe(tmp_path: Path) -> None:
    file = written(tmp_path, set={"training.epochs": 8}, values={"stages.0.ends_after": [2, 4]}, seeds=[5],
                   orders={"of": ["fitnet", "kd"], "epochs": [4]})  # fmt: skip
    sweep = read_sweep(file, ["anchor.weight=0.7"])
    recipes = [point.recipe(sweep) for point in points(sweep.config)]
    assert [recipe.name for recipe in recipes][:2] == [
        "fitnet-kd_stages.0.ends_after=2",
        "fitnet-kd_stages.0.ends_after=4",
    ]
    assert {recipe.runtime.seed for recipe in recipes} == {5}
    assert {recipe.anchor.options["weight"] for recipe in recipes} == {0.7}
    assert Sweep.of(sweep.as_mapping()) == sweep


def test_the_plan_counts_what_is_shared_once(tmp_path: Path) -> None:
    orders = {"of": ["fitnet", "kd", "sp"], "stages": 2}
    sweep = read_sweep(written(tmp_path, set={"training.epochs": 8}, orders=orders, seeds=[0, 1]))
    found = plan(sweep, points(sweep.config))
    assert (len(found.points), len(found.distinct)) == (12, 18)
    assert (found.epochs, found.epochs_of_all_runs) == (2 * (3 * 5 + 6 * 3), 2 * 6 * 8)
    assert sorted(found.uses().values()) == [1] * 12 + [2] * 6


MISTAKES = [
    ({"seed": [1]}, r"own\.yaml: seed: unknown key; did you mean 'seeds'\?"),
    ({"seeds": []}, r"seeds"),
    ({"seeds": [1, 1]}, r"seeds: has a seed twice"),
    ({"orders": {"of": ["kd"], "stages": 2}}, r"orders\.stages: must be at most 1, the number of methods, not 2"),
    ({"orders": {"of": ["kd", "kd"]}}, r"orders\.of: has a method twice"),
    ({"search": {"of": ["kd"], "epochs": 5}, "values": {"x": [1]}}, r"search: a search takes set and one seed"),
    ({"search": {"of": ["kd"], "epochs": 5, "stages": [1, 2]}}, r"search\.stages: must be two numbers"),
    ({"search": {"of": ["kd"], "epochs": 5}, "baseline": "kd"}, r"baseline: a search has one seed"),
    ({"values": {"training.epochs": 3}}, r"values\.training\.epochs: must be a list, not 3"),
]


@pytest.mark.parametrize(("keys", "line"), MISTAKES, ids=str)
def test_mistakes_in_the_file(keys: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=line) as error:
        read_sweep(written(tmp_path, **keys))
    assert "\n" not in str(error.value)


RUN_MISTAKES = [
    ({"values": {"methods": [["kdd"]]}}, r"^kdd: methods\.0: unknown method 'kdd'; did you mean 'kd'\?"),
    ({"values": {"methods": [["kd"]]}, "baseline": "kdd"}, r"baseline: no runs are called 'kdd'; did you mean 'kd'\?$"),
    ({"values": {"anchor.wight": [1]}}, r"^anchor\.wight=1: "),
    ({"values": {"training.epochs": ["x"]}}, r"^training\.epochs=x: training\.epochs: must be a whole number, not 'x'"),
]


@pytest.mark.parametrize(("keys", "line"), RUN_MISTAKES, ids=str)
def test_mistakes_of_a_run_have_its_name(keys: dict[str, Any], line: str, tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path, **keys))
    with pytest.raises(UserError, match=line):
        plan(sweep, points(sweep.config))


def test_a_product_that_is_too_large() -> None:
    with pytest.raises(UserError, match="20,000 runs are more than 10,000"):
        points(SweepConfig("r", values={"x": tuple(range(200)), "y": tuple(range(100))}))


@pytest.mark.parametrize("name", sweep_names())
def test_the_sweeps_of_the_package_can_be_planned(name: str) -> None:
    sweep = read_sweep(name, ["teacher.weights=w"])
    found = plan(sweep, points(sweep.config))
    assert len({point.folder for point in found.points}) == len(found.points) >= 6


@pytest.mark.parametrize("name", [Path(name).name for name in sweep_names() if name.startswith("digits/")])
def test_a_sweep_is_the_same_at_every_size(name: str) -> None:
    digits, cifar10, cifar100 = (without_sizes(f"{size}/{name}") for size in ("digits", "cifar10", "cifar100"))
    assert digits == cifar10 == cifar100


def without_sizes(name: str) -> str:
    """The text of a sweep without its recipe, seeds, networks and lengths."""
    text = sweep_file(Path(name)).read_text(encoding="utf-8")
    return re.sub(
        r"^(recipe:|seeds:|  - {teacher).*\n|(?<=epochs: )\d+|(?<=decay: )[\d.]+", "", text, flags=re.MULTILINE
    )


def test_the_defaults_of_a_search() -> None:
    assert SearchConfig(of=("a", "b", "c"), epochs=5).span == (1, 3)
