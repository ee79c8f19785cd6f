"""The commands on texts."""

import json

import yaml

from tests.support import texts
from tests.support.program import smskd


def recipe(folder, **changes):
    root = texts.folder()
    content = {
        "name": "texts",
        "data": {"source": {"name": "text", "root": str(root), "tokenizer": str(root / "student"), "max_length": 16}},
        "student": {"name": f"transformers/{root / 'student'}"},
        "training": {"epochs": 1, "batch_size": 12},
        "stages": [{"methods": []}],
        "runtime": {"device": "cpu"},
        **changes,
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def test_data_describes_texts(tmp_path):
    found = json.loads(smskd("data", recipe(tmp_path), "--json").out)
    train = found["parts"]["train"]
    assert (found["classes"], train["texts"], sum(train["class_counts"])) == (2, texts.TRAIN, texts.TRAIN)
    assert train["longest"] <= 14
    assert found["shared"] == {"test": 0}
    shown = smskd("data", recipe(tmp_path)).out
    assert f"text: {texts.TRAIN + texts.TEST} texts of 2 classes" in shown
    assert "texts of test are in train" in shown


def test_models_shows_the_features_of_a_network_of_texts():
    found = json.loads(smskd("models", f"transformers/{texts.folder() / 'teacher'}", "--json").out)
    assert found["roles"]["layers"] == ["block1", "block2", "block3", "block4"]
    assert found["features"]["block1"] == [found["tokens"], 12]
    assert "for a text of 32 tokens" in smskd("models", f"transformers/{texts.folder() / 'teacher'}").out


def test_a_run_is_trained_and_evaluated(tmp_path):
    trained = smskd("train", recipe(tmp_path), "--out", tmp_path / "run", "--json")
    assert trained.code == 0, trained
    summary = json.loads(trained.out)
    again = smskd("eval", tmp_path / "run", "--trust", "--json")
    assert again.code == 0, again
    assert json.loads(again.out)[0]["top1"] == summary["student"]["top1"]


def test_augmentation_and_streaming_of_texts_are_refused(tmp_path):
    for changes, line in (
        ("data.augmentation.flip=true", "data.augmentation: these are texts, which are not augmented"),
        ("data.loader.kind=streaming", "data.loader.kind: texts are kept in memory"),
    ):
        refused = smskd("train", recipe(tmp_path), changes, "--out", tmp_path / "run")
        assert refused.code == 2
        assert line in refused.err
