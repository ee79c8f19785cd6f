"""Networks from files of weights: of a file's names only those of the zoo are looked up."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import smskd
from smskd.builder.networks import load_model
from smskd.config.models import ModelConfig
from smskd.errors import UserError
from smskd.models import Facts, adapt, facts, save_weights, set_facts
from smskd.objective.student_head import StudentWithHead, head_descriptions
from tests.support import tiny
from tests.support.facts_cases import KNOWN, Evil, known_network, simkd_student, written
from tests.support.own_data import network


def a_model(**changes: Any) -> ModelConfig:
    return ModelConfig(**{"name": "resnet8_w2", **changes})


def refused(path: Path, config: ModelConfig | None = None) -> str:
    """The message with which the teacher of a recipe is refused."""
    with pytest.raises(UserError) as caught:
        load_model(replace(config or a_model(), weights=str(path)), tiny.digits(), "teacher")
    message = str(caught.value)
    assert message.startswith("teacher.weights: ")
    assert "\n" not in message
    return message


def with_head(path: Path) -> StudentWithHead:
    """Writes a student with the head of SimKD, as a run does."""
    student = simkd_student()
    set_facts(student, replace(KNOWN, heads=tuple(head_descriptions(student))))
    written(path, student)
    return student


class TestFactsAreCompared:
    def test_weights_of_the_same_network(self, tmp_path: Path) -> None:
        written(tmp_path / "w.safetensors")
        model = load_model(a_model(weights=str(tmp_path / "w.safetensors")), tiny.digits(), "teacher")
        assert tiny.same(tiny.bits(model), tiny.bits(known_network()))
        assert facts(model) == KNOWN

    def test_another_network_of_the_zoo(self, tmp_path: Path) -> None:
        message = refused(written(tmp_path / "w.safetensors"), a_model(name="resnet8_w4"))
        assert message.endswith("has the weights of 'resnet8_w2', not those of 'resnet8_w4'")

    def test_a_network_of_ones_own_that_fits_the_zoo(self, tmp_path: Path) -> None:
        own = replace(KNOWN, model=None, network="nets:ResNetWithGELU")
        written(tmp_path / "w.safetensors", known_network(known=own))
        assert "the weights of 'nets:ResNetWithGELU'" in refused(tmp_path / "w.safetensors")

    def test_other_options(self, tmp_path: Path) -> None:
        factory = "tests.support.factories:narrow"
        known = replace(KNOWN, model=factory, options={"slope": 0.1, "pretrained": True})
        model = network(2, seed=1)
        set_facts(model, known)
        written(tmp_path / "w.safetensors", model)
        same = a_model(name=factory, options={"slope": 0.1})
        load_model(replace(same, weights=str(tmp_path / "w.safetensors")), tiny.digits(), "teacher")
        message = refused(tmp_path / "w.safetensors", a_model(name=factory, options={"slope": 0.2}))
        assert "with the options {'slope': 0.1}, not {'slope': 0.2}" in message

    def test_weights_without_facts_are_taken_as_they_are(self, tmp_path: Path) -> None:
        save_weights(tiny.student(), tmp_path / "w.safetensors")
        model = load_model(a_model(weights=str(tmp_path / "w.safetensors")), tiny.digits(), "teacher")
        assert facts(model) == Facts(model="resnet8_w2", classes=10)

    @pytest.mark.parametrize(("name", "value"), [("conv1.weight", torch.nan), ("fc.bias", torch.inf)])
    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    def test_weights_that_are_not_finite_are_named(self, tmp_path: Path, name: str, value: float, suffix: str) -> None:
        model = tiny.student()
        with torch.no_grad():
            model.get_parameter(name).view(-1)[1] = value
        path = tmp_path / f"w.{suffix}"
        if suffix == "pth":
            torch.save(model.state_dict(), path)
        else:
            save_weights(model, path)
        assert f"{name} is not finite: 1 of its " in refused(path)

    def test_statistics_that_are_not_finite_are_named(self, tmp_path: Path) -> None:
        model = tiny.student()
        model.get_buffer("bn1.running_var").fill_(torch.inf)
        save_weights(model, tmp_path / "w.safetensors")
        assert "bn1.running_var is not finite" in refused(tmp_path / "w.safetensors")


class TestHeads:
    def test_a_student_with_a_head_is_a_teacher(self, tmp_path: Path) -> None:
        student = with_head(tmp_path / "w.safetensors").eval()
        model = load_model(a_model(weights=str(tmp_path / "w.safetensors")), tiny.digits(), "teacher").eval()
        assert torch.equal(model(tiny.EXAMPLE + 1), student(tiny.EXAMPLE + 1))

    def test_a_head_on_a_network_of_ones_own(self, tmp_path: Path) -> None:
        made = smskd.build_objective(
            network(2, seed=1), tiny.teacher(), methods=["simkd"], example=torch.rand(2, 1, 8, 8)
        )
        student = made.predictor.eval()
        known = Facts(network="nets:Net", classes=10, image_shape=(1, 8, 8), heads=tuple(head_descriptions(student)))
        set_facts(student, known)
        written(tmp_path / "w.safetensors", student)
        with pytest.raises(UserError, match=r"of a network of your own \(nets:Net\): build it"):
            smskd.load(tmp_path / "w.safetensors")
        again = smskd.load(tmp_path / "w.safetensors", model=network(2, seed=3))
        assert torch.equal(again(tiny.EXAMPLE + 1), student(tiny.EXAMPLE + 1))
        assert facts(again) == known

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"method": "evil_module:make"}, "which does not come with smskd"),
            ({"method": "nosuch"}, "which does not come with smskd"),
            ({"method": 3}, "method "),
            ({"hyperparameters": {"factor": 0}}, "factor"),
            ({"hyperparameters": {"depth": 3}}, "unknown hyper-parameter"),
            ({"hyperparameters": []}, "hyperparameters "),
            ({"taps": ["stage9"]}, "reads stage9, and the student has no such feature"),
            ({"teacher_shapes": [[1 << 40, 2, 2]]}, "teacher_shapes"),
            ({"teacher_shapes": [[64, 2, 2], "x"]}, "teacher_shapes"),
            ({"teacher_shapes": [[10**6, 2, 2]], "classifier_inputs": 10**6}, "does not fit the model"),
            ({"classes": 10**6}, "does not fit the model"),
            ({"classes": 0}, "classes"),
        ],
    )
    def test_descriptions_that_were_changed(
        self, tmp_path: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        student = with_head(tmp_path / "right.safetensors")
        evil = Evil(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        description = json.loads(head_descriptions(student)[0]) | changes
        heads = json.dumps([json.dumps(description)])
        path = written(tmp_path / "w.safetensors", student, heads=heads)
        assert message in refused(path)
        with pytest.raises(UserError, match=r"w\.safetensors") as caught:
            smskd.load(path)
        assert message in str(caught.value)
        assert not evil.ran


class TestLoad:
    def test_a_network_of_the_zoo(self, tmp_path: Path) -> None:
        model = smskd.load(written(tmp_path / "w.safetensors"))
        assert tiny.same(tiny.bits(model), tiny.bits(known_network()))
        assert facts(model) == KNOWN
        assert not model.training

    @pytest.mark.parametrize("name", ["subprocess:getoutput", "evil_module:make", "evil", "..a:b", "resnet8_w3", ""])
    def test_any_other_name_is_not_imported(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        evil = Evil(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        options = json.dumps({"cmd": f"touch {tmp_path}/pwned"})
        path = written(tmp_path / "w.safetensors", model=known_network(), options=options)
        save_weights(known_network(), path, {**smskd.models.read_metadata(path), "model": name})
        before = set(sys.modules)
        with pytest.raises(UserError, match="which is not of the zoo") as caught:
            smskd.load(path)
        assert "\n" not in str(caught.value)
        assert not evil.ran
        assert not (tmp_path / "pwned").exists()
        assert not {module for module in set(sys.modules) - before if "evil" in module}

    def test_a_trusted_name(self, tmp_path: Path) -> None:
        known = replace(KNOWN, model="tests.support.factories:narrow", options={"slope": 0.1})
        model = network(2, seed=1)
        set_facts(model, known)
        written(tmp_path / "w.safetensors", model)
        again = smskd.load(tmp_path / "w.safetensors", trust=True)
        assert tiny.same(tiny.bits(again), tiny.bits(model))

    def test_the_network_itself(self, tmp_path: Path) -> None:
        known = Facts(network="nets:Net", classes=10, mean=(0.1,), std=(0.2,), image_shape=(1, 8, 8))
        model = network(2, seed=1)
        set_facts(model, known)
        written(tmp_path / "w.safetensors", model)
        own = network(2, seed=5)
        assert smskd.load(tmp_path / "w.safetensors", model=own) is own
        assert tiny.same(tiny.bits(own), tiny.bits(model))
        assert facts(own) == known

    def test_a_checkpoint_of_another_program(self, tmp_path: Path) -> None:
        torch.save(network(2, seed=1).state_dict(), tmp_path / "w.pth")
        with pytest.raises(UserError, match="do not name their network: build it"):
            smskd.load(tmp_path / "w.pth")
        own = smskd.load(tmp_path / "w.pth", model=network(2, seed=5))
        assert tiny.same(tiny.bits(own), tiny.bits(network(2, seed=1)))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"classes": "9999999", "class_names": "null"}, "does not fit the model"),
            ({"image_shape": "[9999999, 8, 8]", "mean": "null", "std": "null"}, "does not fit the model"),
            ({"image_shape": "null", "mean": "null", "std": "null"}, "they lack the classes or the image_shape"),
            ({"options": '{"width": 3}'}, "has no option 'width'"),
            ({"options": '{"classes": 3}'}, "has no option 'classes'"),
            ({"image_shape": "x"}, "image_shape is not JSON"),
        ],
    )
    def test_metadata_that_were_changed(self, tmp_path: Path, changes: dict[str, str], message: str) -> None:
        path = written(tmp_path / "w.safetensors", **changes)
        with pytest.raises(UserError, match=message) as caught:
            smskd.load(path)
        assert "\n" not in str(caught.value)

    def test_a_network_that_is_no_longer_that_of_the_zoo(self) -> None:
        """Another activation has no weights: the name is not written, since by it another network would be made."""
        from smskd.builder.networks import student_facts

        data = replace(KNOWN, model=None)
        model = known_network()
        assert student_facts(model, data).model == "resnet8_w2"
        assert isinstance(model.get_submodule("layer1.0.conv1"), nn.Conv2d)
        model.get_submodule("layer1.0").conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False, padding_mode="reflect")  # type: ignore[assignment]
        changed = student_facts(model, data)
        assert changed.model is None
        assert changed.network == "smskd.models.zoo.resnet:ResNet"

    def test_the_facts_of_a_network_of_ones_own(self) -> None:
        from smskd.builder.networks import student_facts

        made = adapt(network(2, seed=1), tiny.EXAMPLE)
        assert student_facts(made, replace(KNOWN, model=None)) == replace(
            KNOWN, model=None, network="torch.nn.modules.container:Sequential"
        )
