"""ONNX graphs and programs of torch.export: any number of samples, compared with PyTorch on test images."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import smskd
from smskd.deployment import deviation as comparing
from smskd.deployment.deviation import Checked, deviation
from smskd.deployment.graphs import Classifier, classifier_of
from smskd.deployment.student import open_student
from smskd.errors import UserError
from tests.support.deployed import digits, plain_run

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``student.onnx`` and ``student.pt2``, which take bytes."""
    folder = tmp_path_factory.mktemp("graphs")
    found = smskd.export(
        plain_run(), onnx=folder / "student.onnx", torch_export=folder / "student.pt2", with_preprocessing=True
    )
    assert found.notes == ()
    for each in (found.onnx_deviation, found.torch_export_deviation):
        assert each is not None
        assert (each.samples, each.source, each.same_class) == (40, "test images", 40)
        assert each.largest < 1e-4
    return folder


def logits(images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = smskd.load(plain_run())(digits().normalisation().apply(images))
    return found


@pytest.mark.parametrize("count", [1, 3])
def test_a_graph_of_onnx_takes_any_number_of_images(exported: Path, count: int) -> None:
    session = onnxruntime.InferenceSession(str(exported / "student.onnx"), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [1, 8, 8])
    images = digits().test.pixels[:count]  # type: ignore[union-attr]
    (found,) = session.run(["logits"], {"images": images.numpy()})
    np.testing.assert_allclose(found, logits(images).numpy(), rtol=1e-4, atol=1e-4)
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["class_names"]) == [str(digit) for digit in range(10)]
    assert json.loads(properties["preprocessing"])["mean"] == pytest.approx(digits().mean)


@pytest.mark.parametrize("count", [1, 3])
def test_a_program_takes_any_number_of_images(exported: Path, count: int) -> None:
    program = torch.export.load(exported / "student.pt2").module()
    images = digits().test.pixels[:count]  # type: ignore[union-attr]
    torch.testing.assert_close(program(images), logits(images))


def test_files_that_differ_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"s.pt2 is not written: the logits of 40 test images differ"):
        smskd.export(plain_run(), torch_export=tmp_path / "s.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_graph_is_noticed() -> None:
    student = open_student(plain_run())
    classifier = classifier_of(student, with_preprocessing=False)
    checked = Checked((torch.randn(5, 1, 8, 8),), "random inputs")

    def right(rows: Any) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = classifier(*rows)
        return found

    assert deviation(right, classifier, checked, "x").largest == 0
    with pytest.raises(UserError, match="x is not written"):
        deviation(lambda rows: right(rows) + 0.1, classifier, checked, "x")
    with pytest.raises(UserError, match="x is not written"):
        deviation(lambda rows: right(rows) * torch.nan, classifier, checked, "x")


def test_preprocessing_that_nobody_knows_is_refused() -> None:
    student = replace(open_student(plain_run()), preprocessing=None)
    with pytest.raises(UserError, match="the preprocessing cannot be put into the graph: the data set gave floats"):
        classifier_of(student, with_preprocessing=True)
    assert isinstance(classifier_of(student, with_preprocessing=False), Classifier)
