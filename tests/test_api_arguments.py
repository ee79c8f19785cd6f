"""Arguments of ``distill`` of wrong kinds, and own classes with mistakes: one line each, and nothing is left behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

import smskd
from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from tests.support import tiny


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, tiny.CLASSES))


def arguments(**changes: Any) -> dict[str, Any]:
    data = tiny.digits()
    usual = {"student": network(), "teacher": network(), "train": data.train, "test": data.test, "stages": ["kd"]}
    return {**usual, "epochs": 2, "batch_size": 20, **changes}


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as error:
        smskd.distill(**arguments(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "resnet8"}, "teacher must be a torch.nn.Module, not 'resnet8'"),
        ({"student": None}, "student must be a torch.nn.Module, not None"),
        ({"train": {"a": 1}}, "train must be a map-style data set of (image, label), not a dict"),
        ({"test": []}, "test has no samples"),
        ({"validation": 1}, "validation must be a map-style data set of (image, label), not a int"),
        ({"on_epoch": 3}, "on_epoch must be callable, not 3"),
        ({"stages": "kd"}, "stages must be a list, such as ['fitnet', 'kd'], not 'kd'"),
        ({"stages": [3]}, "stages: 3 is no stage"),
        ({"strategy": "joint"}, "strategy: joint makes one stage of methods; give methods instead of stages"),
        ({"stages": None}, "give either stages or methods"),
    ],
)
def test_arguments_of_wrong_kinds(changes: dict[str, Any], message: str) -> None:
    assert refusal(**changes).startswith(message)


class TestValidationImages:
    def test_are_no_test_images(self) -> None:
        assert refusal(validation=tiny.digits().test).startswith("validation: these are test images")

    def test_are_no_training_images(self) -> None:
        assert refusal(validation=tiny.digits().train).startswith("validation: these are training images")

    def test_of_a_list_are_no_test_images(self) -> None:
        pairs = [tiny.digits().test[row] for row in range(20)]
        assert refusal(validation=list(pairs), test=list(pairs)).startswith("validation: these are test images")


@dataclass(frozen=True)
class Own(Method):
    """A method whose mistakes its fields choose."""

    tap: str = "logits"
    result: str = "dict"

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads((self.tap,), (self.tap,))

    def loss(self, inputs: TermInputs, state: nn.Module) -> Any:
        loss = inputs.student.logits.square()
        return {"dict": {"own": loss.mean(1)}, "tensor": loss, "wide": {"own": loss}, "empty": {}}[self.result]


class Undecorated(Method):
    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",), ("logits",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, torch.Tensor]:
        return {"own": inputs.student.logits.mean(1)}


class TestOwnMethods:
    def test_a_tap_that_there_is_not(self) -> None:
        assert "it reads 'stage99', which the student does not have" in refusal(stages=[Own("stage99")])

    @pytest.mark.parametrize("result", ["tensor", "wide", "empty"])
    def test_a_loss_that_is_none(self, result: str) -> None:
        assert "loss() must return a dictionary of named parts" in refusal(stages=[Own(result=result)])

    def test_no_dataclass(self) -> None:
        assert "is not a dataclass; put @dataclass(frozen=True)" in refusal(stages=[Undecorated()])

    def test_a_run_that_cannot_begin_leaves_its_folder_free(self, tmp_path: Path) -> None:
        refusal(stages=[Own("stage99")], out=tmp_path / "run")
        smskd.distill(**arguments(stages=[Own()], out=tmp_path / "run"))

    def test_an_error_in_own_code_leaves_the_folder_free(self, tmp_path: Path) -> None:
        class Broken(list[Any]):
            def __getitem__(self, row: Any) -> Any:
                raise LookupError("not there")

        with pytest.raises(UserError, match="training sample 0: the data set raised LookupError: not there") as caught:
            smskd.distill(**arguments(train=Broken([1, 2, 3]), out=tmp_path / "run"))
        assert isinstance(caught.value.__cause__, LookupError)
        smskd.distill(**arguments(out=tmp_path / "run"))


class TestGlobalState:
    def test_is_put_back_before_an_exception_is_freed(self) -> None:
        def stop(report: object) -> None:
            raise RuntimeError("stopped")

        kept = None
        try:
            smskd.distill(**arguments(on_epoch=stop))
        except RuntimeError as error:
            kept = error
        assert kept is not None
        torch.manual_seed(7)
        expected = torch.rand(4)
        torch.manual_seed(7)
        first = torch.rand(2)
        kept = None
        assert torch.equal(torch.cat([first, torch.rand(2)]), expected)
