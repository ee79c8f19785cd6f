"""Reading recipes: bases, overrides, shorthands, numbers, errors, and the round trip through YAML."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from smskd.config.base import ComponentConfig
from smskd.errors import UserError
from smskd.recipe import Recipe, read, shipped, to_yaml
from smskd.recipe.files import merged
from smskd.recipe.yaml_text import load_yaml
from smskd.strategies.resolve import resolve

BASES = ("protocol", "distillation", "spot-adaptive")
"""Files that other recipes are based on, which are not runs themselves."""

PLAIN = "data: digits\nstudent: resnet8_w2\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def methods_of(recipe: Recipe) -> list[str]:
    return [method.name for method in recipe.methods or ()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-2e+2", -200.0),
        (".5e1", 5.0),
        ("1.e-2", 0.01),
        ("5e-4", 0.0005),
        ("'1e-3'", "1e-3"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1e-3x", "1e-3x"),
        ("2024-01-31", "2024-01-31"),
        ("resnet8x4", "resnet8x4"),
        ("12", 12),
        ("true", True),
        ("", None),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = load_yaml(text, "here")
    assert found == value
    assert type(found) is type(value)


def test_numbers_in_a_file_and_on_the_command_line(here: Path) -> None:
    write(here, r=PLAIN + "optimizer: {learning_rate: 1e-2, weight_decay: 1e-5}\n")
    recipe = read("r.yaml", ["optimizer.weight_decay=5e-4", "name='1e-3'"])
    assert recipe.optimizer.learning_rate == 0.01
    assert recipe.optimizer.weight_decay == 0.0005
    assert recipe.name == "1e-3"


def test_a_text_that_looks_like_a_number_stays_one_when_written_out(here: Path) -> None:
    write(here, r=PLAIN)
    for name in ("1e-3", "12", "true", "null", "2024-01-31", "0x1f", "1_000", "a: b"):
        recipe = read("r.yaml", [f"name='{name}'"])
        (here / "again.yaml").write_text(to_yaml(resolve(recipe).as_mapping()))
        assert read("again.yaml").name == name


def test_a_recipe_is_named_after_its_file_and_not_after_its_base(here: Path) -> None:
    write(here, base="name: other\n" + PLAIN, mine="base: base.yaml\n", named="base: base.yaml\nname: own\n")
    assert read("base.yaml").name == "other"
    assert read("mine.yaml").name == "mine"
    assert read("named.yaml").name == "own"


def test_bases_merge_deep(here: Path) -> None:
    write(
        here,
        low=PLAIN + "optimizer: {learning_rate: 0.1, momentum: 0.5}\ntraining: {epochs: 5}\n",
        middle="base: low.yaml\noptimizer: {learning_rate: 0.2}\n",
        top="base: middle.yaml\noptimizer: {nesterov: true}\nschedule: {name: cosine}\n",
    )
    recipe = read("top.yaml")
    assert recipe.optimizer.learning_rate == 0.2
    assert recipe.optimizer.momentum == 0.5
    assert recipe.optimizer.nesterov
    assert recipe.training.epochs == 5
    assert recipe.schedule.name == "cosine"


def test_of_a_list_of_bases_the_later_wins(here: Path) -> None:
    write(
        here,
        one=PLAIN + "training: {epochs: 1, batch_size: 10}\n",
        two="training: {epochs: 2}\nruntime: {seed: 2}\n",
        r="base: [one.yaml, two]\nruntime: {seed: 3}\n",
    )
    recipe = read("r.yaml")
    assert (recipe.training.epochs, recipe.training.batch_size, recipe.runtime.seed) == (2, 10, 3)


def test_a_base_is_looked_for_beside_the_file(here: Path) -> None:
    (here / "deep" / "er").mkdir(parents=True)
    write(here / "deep", base=PLAIN + "training: {epochs: 7}\n")
    write(here / "deep" / "er", r="base: ../base.yaml\n")
    assert read("deep/er/r.yaml").training.epochs == 7
    assert read(here / "deep" / "er" / "r").training.epochs == 7


def test_a_base_may_be_one_of_the_package(here: Path) -> None:
    write(here, r="base: digits/kd.yaml\ntraining: {epochs: 3}\n", s="base: recipes/digits/kd\n")
    assert read("r.yaml").training.epochs == 3
    assert methods_of(read("r.yaml")) == methods_of(read("s.yaml")) == ["kd"]


@pytest.mark.parametrize("over", ["methods: [kd]", "stages: [{methods: [kd], epochs: 2}]", "methods: []"])
@pytest.mark.parametrize("base", ["methods: [rkd, sp]", "stages: [{epochs: 2}, {epochs: 3}]"])
def test_methods_and_stages_replace_each_other(here: Path, base: str, over: str) -> None:
    write(here, base=PLAIN + base, r=f"base: base.yaml\n{over}\n")
    recipe = read("r.yaml")
    key, other = ("methods", "stages") if over.startswith("methods") else ("stages", "methods")
    assert getattr(recipe, other) is None
    assert len(getattr(recipe, key)) == over.count("kd")


def test_methods_and_stages_replace_each_other_on_the_command_line() -> None:
    assert read("digits/fitnet-kd", ["stages=[{methods: rkd}]"]).methods is None
    first = read("digits/fitnet-kd", ["stages=[{methods: rkd}]", "methods=sp"])
    assert first.stages is None
    assert methods_of(first) == ["sp"]


def test_merged_leaves_what_it_is_given_alone() -> None:
    base: dict[str, Any] = {"a": {"b": 1}, "methods": ["kd"]}
    over: dict[str, Any] = {"a": {"c": 2}, "stages": []}
    assert merged(base, over) == {"a": {"b": 1, "c": 2}, "stages": []}
    assert base == {"a": {"b": 1}, "methods": ["kd"]}
    assert over == {"a": {"c": 2}, "stages": []}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("methods=fitnet,kd", ["fitnet", "kd"]),
        ("methods= fitnet , kd ", ["fitnet", "kd"]),
        ("methods=[fitnet, kd]", ["fitnet", "kd"]),
        ("methods=kd", ["kd"]),
        ("methods={name: kd, temperature: 2}", ["kd"]),
        ("methods=none", []),
        ("methods=[]", []),
    ],
)
def test_methods_in_short(override: str, expected: list[str]) -> None:
    assert methods_of(read("digits/fitnet-kd", [override])) == expected


def test_shorthand_texts() -> None:
    recipe = read("digits/kd", ["student=vgg8", "teacher=vgg13", "data=digits", "anchor=reference_kl"])
    assert recipe.student.name == "vgg8"
    assert recipe.teacher is not None
    assert recipe.teacher.name == "vgg13"
    assert (recipe.data.source, recipe.data.subset.train) == (ComponentConfig("digits", {}), None)
    assert recipe.strategy == ComponentConfig("sequential", {})
    assert read("digits/kd", ["data.source=digits"]).data.source == ComponentConfig("digits", {})


def test_a_key_below_a_shorthand() -> None:
    recipe = read("digits/kd", ["data=digits", "data.subset.train=5", "methods=kd,rkd", "methods.1.weight=3"])
    assert recipe.data.subset.train == 5
    assert recipe.methods is not None
    assert recipe.methods[1] == ComponentConfig("rkd", {"weight": 3})
    assert read("digits/kd", ["data.source.test_samples=9"]).data.source.options == {"test_samples": 9}


def test_overrides_reach_into_stages() -> None:
    stages = "stages=[{methods: fitnet, ends_after: 5}, {methods: kd, ends_after: 8}, {methods: rkd}]"
    recipe = read("digits/kd", [stages, "anchor.temperature=2", "stages.1.anchor.weight=0", "stages.2.anchor=null"])
    assert recipe.stages is not None
    first, second, third = recipe.stages
    assert second.anchor == ComponentConfig("reference_kl", {"temperature": 2, "weight": 0})
    assert third.anchor is None
    assert first.inherits_anchor


def test_an_anchor_is_taken_away_by_null() -> None:
    assert read("digits/fitnet-kd").anchor is not None
    assert read("digits/fitnet-kd", ["anchor=null"]).anchor is None


@pytest.mark.parametrize("name", ["digits/kd", "digits/kd.yaml", "recipes/digits/kd.yaml", "recipes/digits/kd"])
def test_the_recipes_of_the_package_are_found_from_anywhere(here: Path, name: str) -> None:
    assert read(name).name == "kd"


def test_a_file_of_ones_own_comes_before_one_of_the_package(here: Path) -> None:
    (here / "digits").mkdir()
    write(here / "digits", kd=PLAIN + "training: {epochs: 77}\n")
    assert read("digits/kd.yaml").training.epochs == 77


@pytest.mark.parametrize("name", [name for name in shipped.names() if Path(name).stem not in BASES])
def test_every_recipe_of_the_package_can_be_resolved_and_read_back(here: Path, name: str) -> None:
    recipe = read(name)
    mapping = resolve(recipe).as_mapping()
    (here / "full.yaml").write_text(to_yaml(mapping))
    again = resolve(read("full.yaml"))
    assert again.as_mapping() == mapping
    assert again == resolve(recipe)
    assert recipe.name == Path(name).stem


def test_everything_is_filled_in_by_resolving() -> None:
    value = yaml.safe_load(to_yaml(resolve(read("digits/fitnet-kd", ["training.epochs=80"])).as_mapping()))
    first, second = value["stages"]
    assert set(value) == {field.name for field in fields(Recipe)} - {"methods", "anchor"}
    assert (first["ends_after"], second["ends_after"]) == (50, 80)
    assert value["schedule"]["decay_at"] == [50, 60, 70]
    assert first["methods"][0] == {"name": "fitnet", "weight": 100.0, "hint_layer": 2, "regressor": True}
    assert second["methods"] == [{"name": "kd", "weight": 0.9, "temperature": 4.0}]
    assert (first["ce_weight"], second["ce_weight"]) == (1.0, 0.1)
    assert first["anchor"] is None
    assert second["anchor"]["weight"] > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "r.yaml, line 2: not valid YAML (expected ',' or ']', but got ':')"),
        ("epochs: 1\nepochs: 2\n", "r.yaml, line 2: not valid YAML (the key 'epochs' occurs twice)"),
        (
            "data: !!python/name:os.system\n",
            "r.yaml: not valid YAML (tags such as !!python/name:os.system are not supported; ",
        ),
        ("- 1\n", "r.yaml: a recipe is a mapping of keys, this is a list"),
        ("", "r.yaml: a recipe is a mapping of keys, this is empty"),
        ("text", "r.yaml: a recipe is a mapping of keys, this is a text"),
        ("base: nosuch.yaml\n", "r.yaml: base: nosuch.yaml does not exist"),
        ("base: r.yaml\n", "r.yaml: its bases lead back to itself"),
        ("base: [loop.yaml]\n", "r.yaml: its bases lead back to itself"),
        ("base: 3\n", "r.yaml: base: must be the name of a recipe file or a list of them, not a number"),
        ("base: {a: 1}\n", "r.yaml: base: must be the name of a recipe file or a list of them, not a mapping"),
        ("student: resnet8\n", "r.yaml: data: this key is needed"),
        ("data: digits\n", "r.yaml: student: this key is needed"),
        (PLAIN + "epoch: 3\n", "r.yaml: epoch: unknown key; did you mean 'training.epochs'?"),
        (PLAIN + "3: 3\n", "r.yaml, line 3: not valid YAML (the key 3 must be a text, in quotes)"),
        (PLAIN + "methods: [kd]\nstages: []\n", "r.yaml: give either methods or stages, not both"),
    ],
)
def test_mistakes_in_a_file(here: Path, text: str, message: str) -> None:
    write(here, r=text, loop="base: r.yaml\n")
    with pytest.raises(UserError) as error:
        read("r.yaml")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text(here: Path) -> None:
    (here / "r.yaml").write_bytes(bytes(range(128, 256)))
    with pytest.raises(UserError, match=r"^r\.yaml, line 1: not a text file in UTF-8$"):
        read("r.yaml")


def test_a_recipe_that_is_not_there(here: Path) -> None:
    (here / "mine").mkdir()
    with pytest.raises(UserError, match=r"^mine is a folder; a recipe is a YAML file, such as mine/NAME\.yaml$"):
        read("mine")
    with pytest.raises(UserError, match=r"^digits/kdd: no such recipe file; did you mean 'digits/kd\.yaml'\?$"):
        read("digits/kdd")
    with pytest.raises(UserError, match=r"^xyzzy: no such recipe file; smskd recipe lists those of the package"):
        read("xyzzy")
    with pytest.raises(UserError, match="no such recipe file"):
        read("../digits/kd.yaml")


OVERRIDES = {
    "epochs": "'epochs' is not of the form key.path=value",
    "=3": "'=3' is not of the form key.path=value",
    "training=[1": "'training=[1': not valid YAML (expected ',' or ']', but got 'the end')",
    "epohcs=3": "digits/kd: epohcs: unknown key; did you mean 'training.epochs'?",
    "momentum=0": "digits/kd: momentum: unknown key; did you mean 'optimizer.momentum'?",
    "stategy=joint": "digits/kd: stategy: unknown key; did you mean 'strategy'?",
    "nosuch=3": "digits/kd: nosuch: unknown key; choose from anchor, data, methods, name, ",
    "training.epohcs=3": "digits/kd: training.epohcs: unknown key; did you mean 'epochs'?",
    "optimizer.momentun=0": "digits/kd: optimizer.momentun: unknown key; did you mean 'momentum'?",
    "stages=[{metods: kd}]": "digits/kd: stages.0.metods: unknown key; did you mean 'methods'?",
    "stages=[{optimizer: {momentun: 0}}]": (
        "digits/kd: stages.0.optimizer.momentun: unknown key; did you mean 'momentum'?"
    ),
    "data.x=1": "digits/kd: data.x: unknown key; choose from augmentation, loader, source, subset, validation",
    "training.epochs=0": "digits/kd: training.epochs: must be greater than 0, not 0",
    "training.epochs=abc": "digits/kd: training.epochs: must be a whole number, not 'abc'",
    "training.epochs=1.5": "digits/kd: training.epochs: must be a whole number, not 1.5",
    "training.epochs=": "'training.epochs=' has no value; null stands for none",
    "methods=": "'methods=' has no value; null stands for none",
    "base=digits/kd": "'base=digits/kd': base is a key of files; give the recipe of the base instead",
    "training.epochs=[1]": "digits/kd: training.epochs: must be a whole number, not a list",
    "training.epochs.a=3": "'training.epochs.a=3': training.epochs is a number and has no keys",
    "training=3": "digits/kd: training: must be a mapping, not 3",
    "training.batch_size=1": "digits/kd: training.batch_size: must be greater than or equal to 2, not 1",
    "stages=[{batch_size: 1}]": "digits/kd: stages.0.batch_size: must be greater than or equal to 2, not 1",
    "runtime.seed=-1": "digits/kd: runtime.seed: must be greater than or equal to 0, not -1",
    "runtime.seed=2147483648": "digits/kd: runtime.seed: must be less than 2147483648, not 2147483648",
    "runtime.precision=fp8": "digits/kd: runtime.precision: must be 'fp32', 'bf16' or 'fp16', not 'fp8'",
    "student={name: 3}": "digits/kd: student.name: must be a text, not 3; write it in quotes: '3'",
    "student={name: true}": "digits/kd: student.name: must be a text, not true; write it in quotes: 'true'",
    "student={name: [a]}": "digits/kd: student.name: must be a text, not a list",
    "data.augmentation.flip=maybe": "digits/kd: data.augmentation.flip: must be true or false, not 'maybe'",
    "data.subset.train=x": "digits/kd: data.subset.train: must be a whole number, not 'x'",
    "data.validation.fraction=2": "digits/kd: data.validation.fraction: must be less than 1, not 2",
    "data.validation={fraction: 0.1, count: 3}": ("digits/kd: data.validation: give one of fraction, count and source"),
    "data.validation.source=3": ("digits/kd: data.validation.source: must be a name, or a mapping with a name, not 3"),
    "data.source=3": "digits/kd: data.source: must be a name, or a mapping with a name, not 3",
    "data.loader.kind=fast": "digits/kd: data.loader.kind: must be 'auto', 'memory' or 'streaming', not 'fast'",
    "optimizer.name=adam": "digits/kd: optimizer.name: must be 'sgd' or 'adamw', not 'adam'",
    "optimizer.learning_rate=.inf": "digits/kd: optimizer.learning_rate: must be a finite number, not .inf",
    "optimizer.learning_rate=.nan": "digits/kd: optimizer.learning_rate: must be a finite number, not .nan",
    "optimizer.learning_rate=fast": "digits/kd: optimizer.learning_rate: must be a number, not 'fast'",
    "optimizer.momentum=1": "digits/kd: optimizer.momentum: must be less than 1, not 1",
    "schedule.decay_at=3": "digits/kd: schedule.decay_at: must be a list, not 3",
    "schedule.decay_at=[a]": (
        "digits/kd: schedule.decay_at.0: must be a number of epochs, such as 150, "
        "or a share of all epochs, such as 5/8, not 'a'"
    ),
    "stages=3": "digits/kd: stages: must be a list, not 3",
    "stages=[3]": "digits/kd: stages.0: must be a mapping, not 3",
    "stages={a: 1}": "digits/kd: stages: must be a list, not a mapping",
    "stages.0.ends_after=3": "'stages.0.ends_after=3': the recipe has no list stages; it has methods",
    "methods=3": "digits/kd: methods: must be a list, not 3",
    "methods=[3]": "digits/kd: methods.0: must be a name, or a mapping with a name, not 3",
    "methods=[{weight: 3}]": "digits/kd: methods.0: must be a name, or a mapping with a name, not a mapping",
    "methods.1.weight=3": "'methods.1.weight=3': methods is a list of 1, '1' is not an index of it",
    "methods.a=3": "'methods.a=3': methods is a list of 1, 'a' is not an index of it",
    "methods.²=3": "'methods.²=3': methods is a list of 1, '²' is not an index of it",
    "student=null": "digits/kd: student: must be a mapping, not null",
    "student={}": "digits/kd: student.name: this key is needed",
    "teacher=[a]": "digits/kd: teacher: must be a mapping, not a list",
    "teacher.cache.limit=much": (
        "digits/kd: teacher.cache.limit: must be a size in bytes, such as 500MB or 16GB, not 'much'"
    ),
    "anchor=3": "digits/kd: anchor: must be a name, or a mapping with a name, not 3",
    "data=null": "digits/kd: data: must be a mapping, not null",
    "strategy=3": "digits/kd: strategy: must be a name, or a mapping with a name, not 3",
}


@pytest.mark.parametrize(("override", "message"), OVERRIDES.items(), ids=OVERRIDES.keys())
def test_mistakes_in_an_override(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read("digits/kd", [override])
    assert str(error.value).startswith(message)
    assert message.endswith(" ") or str(error.value) == message


RESOLVED = {
    "strategy=random": "strategy: unknown strategy 'random'; choose from joint, sequential, spot_adaptive",
    "methods.0.weight=-3": "methods.0.weight: must be a number of 0 or more, not -3",
    "stages=[{methods: [{name: kd, temperature: hot}]}]": (
        "stages.0.methods.0.temperature: must be a number, not 'hot'"
    ),
    "stages=[{methods: kd}, {methods: kd, anchor: {weigth: 1}}]": (
        "stages.1.anchor.weigth: unknown hyper-parameter of reference_kl; did you mean 'weight'?"
    ),
    "teacher=null": "teacher: kd (stage 1) needs a teacher; ",
    "stages=[{methods: kd, carry: best}]": "stages.0.carry: best is selected on a validation split and there is none; ",
}


@pytest.mark.parametrize(("override", "message"), RESOLVED.items(), ids=RESOLVED.keys())
def test_mistakes_that_resolving_finds(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(read("digits/kd", [override]))
    assert str(error.value).startswith(message)
    assert message.endswith(" ") or str(error.value) == message
