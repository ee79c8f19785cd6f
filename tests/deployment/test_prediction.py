"""Predictions of images: what the evaluation computes for them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import smskd
from smskd.builder.loaders import test_loader as evaluation_loader
from smskd.deployment.student import open_student
from smskd.errors import UserError
from tests.support.deployed import digits, plain_run, timm_run, write_digits
from tests.support.program import fine, mistake
from tests.support.program import smskd as program


def test_predictions_are_those_of_the_evaluation(tmp_path: Path) -> None:
    files = write_digits(tmp_path / "images", 70)
    (batch, *_) = evaluation_loader(digits(), 70, torch.device("cpu")).epoch(0)
    with torch.no_grad():
        expected = smskd.load(plain_run())(batch.x).softmax(1)
    found = smskd.predict(plain_run(), [tmp_path / "images"], top=10)
    assert [each.source for each in found] == [str(file) for file in files]
    for row, prediction in enumerate(found):
        assert [each.index for each in prediction.classes] == expected[row].argsort(descending=True).tolist()
        for each in prediction.classes:
            assert each.probability == pytest.approx(float(expected[row, each.index]), abs=1e-6)


def test_images_of_a_folder_are_those_of_the_evaluation() -> None:
    student = open_student(timm_run(), trust=True)
    assert student.recipe is not None
    dataset = smskd.data.load(student.recipe.data)
    (batch,) = evaluation_loader(dataset, 64, torch.device("cpu")).epoch(0)
    files = sorted((timm_run().parent / "colours" / "test").rglob("*.png"))
    assert student.preprocessing is not None
    pixels = torch.stack([student.preprocessing.pixels(file.read_bytes(), "x") for file in files])
    assert torch.equal(student.preprocessing.normalised(pixels), batch.x)


def test_exported_folders_predict_the_same(tmp_path: Path) -> None:
    (file,) = write_digits(tmp_path, 1)
    smskd.export(plain_run(), safetensors=tmp_path / "out")
    assert smskd.predict(tmp_path / "out", [file]) == smskd.predict(plain_run(), [file])


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    write_digits(tmp_path / "a" / "b", 2)
    write_digits(tmp_path / "a", 1)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    wanted = [tmp_path / "a" / "b" / "001.png", tmp_path / "a", f"{tmp_path}/**/000.png"]
    found = [each.source.removeprefix(f"{tmp_path}/") for each in smskd.predict(plain_run(), wanted, top=1)]
    assert found == ["a/b/001.png", "a/000.png", "a/b/000.png", "a/b/001.png", "a/000.png", "a/b/000.png"]
    for nothing, message in (
        ("none.png", "none.png: no such image file"),
        ("*.gif", "no image file fits *.gif"),
        (str(tmp_path / "empty"), "has no images in it"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert message in mistake("predict", plain_run(), nothing)


def test_the_program_prints_classes_and_probabilities(tmp_path: Path) -> None:
    write_digits(tmp_path, 2)
    (first, second) = json.loads(fine("predict", plain_run(), tmp_path, "--top", "3", "--json"))
    assert first["source"].endswith("000.png")
    assert len(second["classes"]) == 3
    shown = fine("predict", plain_run(), tmp_path / "000.png", "--top", "1")
    assert f"{100 * first['classes'][0]['probability']:.2f} %" in shown
    assert shown.splitlines()[1].split()[-3] == first["classes"][0]["name"]


def test_an_unreadable_image_is_told_and_the_others_are_predicted(tmp_path: Path) -> None:
    write_digits(tmp_path, 2)
    (tmp_path / "000.png").write_bytes(b"no image")
    outcome = program("predict", plain_run(), tmp_path, "--json")
    assert outcome.code == 2
    assert outcome.err == f"smskd: {tmp_path}/000.png: the image cannot be decoded (no known image format)\n"
    assert [each["source"] for each in json.loads(outcome.out)] == [f"{tmp_path}/001.png"]
    with pytest.raises(UserError, match="cannot be decoded"):
        smskd.predict(plain_run(), [tmp_path])


def test_images_of_another_size_and_colour(tmp_path: Path) -> None:
    Image.new("RGBA", (31, 17), (200, 10, 10, 128)).save(tmp_path / "colour.png")
    (found,) = smskd.predict(plain_run(), [tmp_path / "colour.png"])
    assert sum(each.probability for each in found.classes) <= 1


def test_mistakes_of_the_folder(tmp_path: Path) -> None:
    assert mistake("predict", tmp_path / "none", "x.png").endswith("none: no such run or file")
    both = tmp_path / "both"
    for name in ("one", "two"):
        (both / name).mkdir(parents=True)
        for file in ("recipe.yaml", "student.safetensors"):
            (both / name / file).write_bytes((plain_run() / file).read_bytes())
    assert "holds 2 runs" in mistake("predict", both, "x.png")
    smskd.export(plain_run(), safetensors=tmp_path / "out")
    (tmp_path / "out" / "preprocessing.json").write_text('{"channels": 1}')
    assert "preprocessing.json is damaged" in mistake("predict", tmp_path / "out", "x.png")
