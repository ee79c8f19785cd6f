"""Methods, anchors, strategies, models and data sources are found by file, entry point and package.module:Name."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import smskd
from smskd import data, models
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.base import ComponentConfig
from smskd.errors import UserError
from smskd.interfaces.terms import Anchor, Method
from smskd.methods.kd import KD
from smskd.registry import ANCHORS, DATA, METHODS, MODELS, STRATEGIES, ClassRegistry, Registry
from smskd.strategies.base import Strategy
from smskd.strategies.sequential import Sequential
from tests.support import tiny
from tests.support.own_data import floats

PACKAGE = Path(smskd.__file__).parent


class Own(KD):
    """A method of a user's own."""


@dataclass(frozen=True)
class OwnAnchor(ReferenceKL):
    """An anchor of a user's own."""

    sharpness: int = 3


class OwnStrategy(Sequential):
    """A strategy of a user's own."""


def own_model(classes: int, channels: int, width: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
    )


def own_data(count: int = 12) -> dict[str, Any]:
    return {"train": floats("train")[:count], "test": floats("test")}


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs entry points of a registry."""

    def installed(registry: Registry, *pairs: tuple[str, str]) -> None:
        points = [EntryPoint(name, value, registry.group) for name, value in pairs]
        monkeypatch.setattr("smskd.registry.entry_points", lambda group: points if group == registry.group else [])

    return installed


def path_of(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


OWN: list[tuple[Registry, Any]] = [
    (METHODS, Own),
    (ANCHORS, OwnAnchor),
    (STRATEGIES, OwnStrategy),
    (MODELS, own_model),
    (DATA, own_data),
]
nouns = [registry.noun for registry, _ in OWN]


class TestBuiltIn:
    @pytest.mark.parametrize(
        ("registry", "folder", "helpers", "base"),
        [
            (METHODS, "methods", set(), Method),
            (ANCHORS, "anchors", set(), Anchor),
            (STRATEGIES, "strategies", {"base", "resolve", "resolved"}, Strategy),
        ],
        ids=nouns[:3],
    )
    def test_the_name_of_a_class_is_its_file(
        self, registry: ClassRegistry, folder: str, helpers: set[str], base: type[Any]
    ) -> None:
        files = {file.stem for file in (PACKAGE / folder).glob("*.py") if not file.stem.startswith("_")}
        assert set(registry.names()) == files - helpers
        assert len(registry.names()) >= 2
        for name in registry.names():
            cls = registry.find(name)
            assert issubclass(cls, base)
            assert registry.name_of(cls) == name
            assert registry.name_of(cls()) == name
            assert registry.make(registry.component_of(cls()), "there") == cls()

    def test_models_and_data_sources(self) -> None:
        assert {"resnet8_w2", "resnet56", "wrn_40_2"} <= set(MODELS.names())
        assert {"digits", "cifar100", "parquet", "image_folder"} <= set(DATA.names())

    @pytest.mark.parametrize("registry", ["METHODS", "ANCHORS", "STRATEGIES", "MODELS", "DATA"])
    def test_names_are_listed_without_importing_torch(self, registry: str) -> None:
        code = f"import sys; from smskd.registry import {registry} as r; r.names(); print('torch' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "False"

    @pytest.mark.parametrize("name", ["_describe", "__init__"])
    def test_helper_files_are_no_methods(self, name: str) -> None:
        with pytest.raises(UserError, match="unknown method"):
            METHODS.find(name)


class TestOwn:
    @pytest.mark.parametrize(("registry", "thing"), OWN, ids=nouns)
    def test_a_path_leads_to_it_and_back(self, registry: Registry, thing: Any) -> None:
        assert registry.find(path_of(thing)) is thing
        assert registry.name_of(thing) == path_of(thing)

    @pytest.mark.parametrize(("registry", "thing"), OWN, ids=nouns)
    def test_an_entry_point_is_a_name(self, registry: Registry, thing: Any, install: Install) -> None:
        install(registry, ("own", path_of(thing)))
        assert "own" in registry.names()
        assert registry.find("own") is thing
        assert registry.name_of(thing) == "own"

    @pytest.mark.parametrize("name", [path_of(own_model), "own"])
    def test_a_model_is_created(self, name: str, install: Install) -> None:
        install(MODELS, ("own", path_of(own_model)))
        model = models.create(name, classes=7, channels=1, image_size=(8, 8), width=6)
        assert isinstance(model.classifier, nn.Linear)
        assert (model.classifier.in_features, model.classifier.out_features) == (6, 7)

    @pytest.mark.parametrize("name", [path_of(own_data), "own"])
    def test_data_are_loaded(self, name: str, install: Install) -> None:
        install(DATA, ("own", path_of(own_data)))
        loaded = data.load(name, count=9)
        assert (len(loaded.train), len(loaded.test)) == (9, tiny.TEST)

    def test_options_are_the_fields_of_the_class(self) -> None:
        made = ANCHORS.make(ComponentConfig(path_of(OwnAnchor), {"sharpness": 5, "weight": 0.3}), "anchor")
        assert made == OwnAnchor(weight=0.3, sharpness=5)
        assert ANCHORS.make(ANCHORS.component_of(made), "anchor") == made
        with pytest.raises(UserError, match=r"^anchor\.sharpnes: unknown .* did you mean 'sharpness'"):
            ANCHORS.make(ComponentConfig(path_of(OwnAnchor), {"sharpnes": 5}), "anchor")
        with pytest.raises(UserError, match=r"^anchor\.sharpness: must be a whole number, not 'high'"):
            ANCHORS.make(ComponentConfig(path_of(OwnAnchor), {"sharpness": "high"}), "anchor")

    def test_a_class_with_the_name_of_a_built_in_one_is_not_taken_for_it(self) -> None:
        own = type("ReferenceKL", (ReferenceKL,), {"__module__": __name__})
        assert ANCHORS.name_of(ReferenceKL) == "reference_kl"
        assert ANCHORS.name_of(own) == f"{__name__}:ReferenceKL"


class TestErrors:
    @pytest.mark.parametrize(
        ("registry", "name", "message"),
        [
            (METHODS, "fitnets", r"unknown method 'fitnets'; did you mean 'fitnet'\?"),
            (METHODS, "zzzzz", r"unknown method 'zzzzz'; choose from .*fitnet.*, kd, "),
            (ANCHORS, "l2sp", r"unknown anchor 'l2sp'; did you mean 'l2_sp'\?"),
            (STRATEGIES, "sequentiel", r"unknown strategy 'sequentiel'; did you mean 'sequential'\?"),
            (MODELS, "resnet57", r"unknown model 'resnet57'; did you mean"),
            (DATA, "cifar101", r"unknown data source 'cifar101'; did you mean"),
            (METHODS, "no.such.module:KD", "method 'no.such.module:KD': cannot import 'no.such.module'"),
            (METHODS, "smskd.methods.kd:KDD", "method 'smskd.methods.kd:KDD': .* has no 'KDD'; did you mean 'KD'"),
            (METHODS, "smskd.methods.kd:kd_loss", "method 'smskd.methods.kd:kd_loss' is not a subclass of"),
            (ANCHORS, "smskd.methods.kd:KD", "anchor 'smskd.methods.kd:KD' is not a subclass of"),
            (METHODS, ":KD", "method ':KD': write package.module:Name"),
        ],
    )
    def test_of_names(self, registry: Registry, name: str, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            registry.find(name)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("ask", [METHODS.names, lambda: METHODS.find("own")])
    def test_an_entry_point_with_a_built_in_name(self, ask: Callable[[], Any], install: Install) -> None:
        install(METHODS, ("kd", path_of(Own)))
        with pytest.raises(UserError, match=r"the installed method 'kd' .* has the name of a built-in one"):
            ask()

    def test_two_entry_points_of_one_name(self, install: Install) -> None:
        install(METHODS, ("own", "a:A"), ("own", "b:B"))
        with pytest.raises(UserError, match=r"two installed .*'own': a:A and b:B"):
            METHODS.names()
