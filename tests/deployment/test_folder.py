"""A student in a folder: loaded by smskd, and by the library of its network."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import smskd
from smskd.errors import UserError
from smskd.models import facts
from smskd.recipe import parse, read
from tests.support import texts
from tests.support.deployed import colours_run, digits, equal, finished, plain_run, state, timm_run, trained

TAUGHT = ("student=resnet8_w2", "teacher.name=resnet8_w2", f"teacher.weights={plain_run()}")


def test_a_network_of_the_zoo(tmp_path: Path) -> None:
    exported = smskd.export(plain_run(), safetensors=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessing.json",
    ]
    loaded, trained_one = smskd.load(tmp_path / "out"), smskd.load(plain_run())
    assert equal(state(loaded), state(trained_one))
    assert facts(loaded) == facts(trained_one)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["model"], config["classes"]) == ("resnet8_w2", 10)
    assert config["class_names"] == [str(digit) for digit in range(10)]
    assert exported.loads == (f"smskd.load({str(tmp_path / 'out')!r})",)
    assert (exported.folder, exported.notes) == (tmp_path / "out", ())


def test_a_network_of_timm_is_loaded_by_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    options = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    run = colours_run(tmp_path, {"name": "timm/vit_tiny_patch16_224", "options": options})
    exported = smskd.export(run, safetensors=tmp_path / "out", trust=True)
    assert exported.notes == ()
    expected = state(smskd.load(run, trust=True))
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert equal(state(theirs), expected)
    assert equal(state(smskd.load(tmp_path / "out", trust=True)), expected)
    assert theirs.pretrained_cfg["input_size"] == (3, 16, 16)
    assert theirs.pretrained_cfg["label_names"] == ["blue", "red"]
    known = facts(smskd.load(run, trust=True))
    assert known is not None
    assert tuple(theirs.pretrained_cfg["mean"]) == known.mean
    assert exported.loads[0] == f"timm.create_model('local-dir:{tmp_path / 'out'}', pretrained=True)"


def test_timm_brings_images_to_the_network_as_the_run_did(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from PIL import Image

    run = timm_run()
    smskd.export(run, safetensors=tmp_path / "out", trust=True)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs))
    file = run.parent / "colours" / "test" / "red" / "1.png"  # 23x23: it is resized
    with torch.no_grad():
        probabilities = theirs(transform(Image.open(file).convert("RGB"))[None]).softmax(1)[0]
    (ours,) = smskd.predict(run, [file], trust=True)
    for each in ours.classes:
        assert each.probability == pytest.approx(float(probabilities[each.index]), abs=1e-5)


def vit(folder: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8
    ).save_pretrained(folder / "vit")
    return folder / "vit"


def test_an_image_classifier_of_transformers_is_loaded_by_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from PIL import Image

    run = colours_run(tmp_path, {"name": f"transformers/{vit(tmp_path)}"})
    exported = smskd.export(run, safetensors=tmp_path / "out", trust=True)
    assert exported.notes == ()
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    expected = state(smskd.load(run, trust=True))
    assert equal(state(theirs), expected)
    assert theirs.config.id2label == {0: "blue", 1: "red"}
    (tmp_path / "vit" / "config.json").unlink()  # the folder stands alone
    assert equal(state(smskd.load(tmp_path / "out", trust=True)), expected)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out")
    file = tmp_path / "colours" / "test" / "red" / "0.png"
    with torch.no_grad():
        inputs = processor(Image.open(file).convert("RGB"), return_tensors="pt")
        probabilities = theirs(**inputs).logits.softmax(1)[0]
    (ours,) = smskd.predict(tmp_path / "out", [file], trust=True)
    for each in ours.classes:
        assert each.probability == pytest.approx(float(probabilities[each.index]), abs=1e-5)


def text_run(folder: Path) -> Path:
    root = str(texts.folder() / "student")
    content = {
        "name": "texts",
        "data": {"source": {"name": "text", "root": str(texts.folder()), "tokenizer": root, "max_length": 16}},
        "student": {"name": f"transformers/{root}"},
        "training": {"epochs": 1, "batch_size": 12},
        "stages": [{"methods": []}],
        "runtime": {"device": "cpu", "compile": "off"},
    }
    return finished(parse(content), folder / "run")


def test_a_text_classifier_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    run = text_run(tmp_path)
    exported = smskd.export(run, safetensors=tmp_path / "out", onnx=tmp_path / "text.onnx", trust=True)
    assert exported.onnx_deviation is not None
    assert exported.onnx_deviation.source == "test texts"
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert equal(state(theirs), state(smskd.load(run, trust=True)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    sentence = "the film was great and the plot is very good"
    with torch.no_grad():
        logits = theirs(**tokenizer(sentence, return_tensors="pt", truncation=True)).logits
    assert tokenizer.model_max_length == 16
    for place in (run, tmp_path / "out"):
        (ours,) = smskd.predict(place, [sentence], trust=True)
        for each in ours.classes:
            assert each.probability == pytest.approx(float(logits.softmax(1)[0, each.index]), abs=1e-5)


def test_a_student_with_the_head_of_a_method(tmp_path: Path) -> None:
    run = trained(tmp_path, "methods=simkd", *TAUGHT, recipe="digits/kd.yaml")
    smskd.export(run, safetensors=tmp_path / "out", torch_export=tmp_path / "s.pt2")
    assert equal(state(smskd.load(tmp_path / "out")), state(smskd.load(run)))
    assert "head.teacher_classifier.weight" in " ".join(state(smskd.load(tmp_path / "out")))


def test_nothing_travels_that_was_trained_around_the_student(tmp_path: Path) -> None:
    crd = "{name: crd, negatives: 8, feature_dim: 4}"
    methods = ("fitnet", "reviewkd", "semckd", "ofd", crd)
    stages = [f"{{methods: [{method}], ends_after: {last}}}" for last, method in enumerate(methods, start=1)]
    run = trained(
        tmp_path,
        "training.epochs=5",
        "schedule.decay_at=[4]",
        f"stages=[{', '.join(stages)}]",
        *TAUGHT,
        recipe="digits/kd.yaml",
    )
    smskd.export(run, safetensors=tmp_path / "out")
    fresh = smskd.models.create("resnet8_w2", classes=10, channels=1, image_size=(8, 8))
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert {name: tensor.shape for name, tensor in written.items()} == {
        name: tensor.shape for name, tensor in fresh.state_dict().items()
    }
    assert not {path.name for path in (tmp_path / "out").iterdir()} - {
        "config.json",
        "model.safetensors",
        "preprocessing.json",
    }


def test_batch_norms_are_folded(tmp_path: Path) -> None:
    exported = smskd.export(plain_run(), safetensors=tmp_path / "out", fold=True, torch_export=tmp_path / "f.pt2")
    assert exported.notes == ()
    folded, plain = smskd.load(tmp_path / "out"), smskd.load(plain_run())
    kinds = [type(module).__name__ for module in folded.modules()]
    assert "BatchNorm2d" not in kinds
    images = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), plain(images), rtol=1e-4, atol=1e-4)
    assert sum(tensor.numel() for tensor in folded.parameters()) < sum(tensor.numel() for tensor in plain.parameters())
    with pytest.raises(UserError, match=r"^student.weights: .* batch norms are folded"):
        trained(tmp_path / "x", f"student.weights={tmp_path / 'out'}", "student.name=resnet8_w2")
    changes = ("student=resnet8_w2", "teacher.name=resnet8_w2", f"teacher.weights={tmp_path / 'out'}")
    assert trained(tmp_path / "taught", *changes, recipe="digits/kd.yaml").is_dir()


def test_what_cannot_be_folded_is_told(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    options = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    run = colours_run(tmp_path, {"name": "timm/vit_tiny_patch16_224", "options": options})
    exported = smskd.export(run, safetensors=tmp_path / "out", fold=True, trust=True)
    assert exported.notes == ("The network has no batch norms to fold.",)


def test_a_network_of_a_program(tmp_path: Path) -> None:
    def network() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3),
            torch.nn.BatchNorm2d(4),
            torch.nn.Conv2d(4, 4, 1),
            torch.nn.BatchNorm2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(144, 10),
        )

    smskd.distill(
        student=network(),
        teacher=None,
        stages=[],
        epochs=1,
        train=digits().train,
        test=digits().test,
        out=tmp_path / "run",
    )
    with pytest.raises(UserError, match=r"network of your own .*model=network"):
        smskd.export(tmp_path / "run", safetensors=tmp_path / "out")
    exported = smskd.export(
        tmp_path / "run", safetensors=tmp_path / "out", torch_export=tmp_path / "n.pt2", fold=True, model=network()
    )
    assert exported.notes == (
        "1 of 2 batch norms are not folded: no convolution is directly before them, or a feature is read between the "
        "two.",
        "not compared on test samples: the run's data are not named in files",
    )
    loaded = smskd.load(tmp_path / "out", model=network())
    images = torch.randn(3, 1, 8, 8)
    expected = smskd.load(tmp_path / "run", model=network())
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), expected(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing is to be exported"),
        ({"safetensors": "run"}, "--safetensors: .*run holds a run"),
        ({"onnx": "student.pt"}, "--onnx: student.pt must end with .onnx"),
        ({"torch_export": "student.pt"}, "--torch-export: student.pt must end with .pt2"),
        ({"safetensors": "out", "with_preprocessing": True}, "--with-preprocessing is for the graphs"),
        ({"safetensors": "out", "license": "mit"}, "--license is a field of the model card"),
        ({"push": "name"}, "--push: 'name' is no id of a repository: OWNER/NAME"),
    ],
)
def test_mistakes(tmp_path: Path, options: dict[str, str], message: str) -> None:
    if options.get("safetensors") == "run":
        options = {"safetensors": str(plain_run())}
    with pytest.raises(UserError, match=message):
        smskd.export(plain_run(), **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_that_does_not_come_with_smskd_needs_no_trust(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    recipe = timm_run().parent / "recipe.yaml"
    changes = ["student=resnet8_w2", "teacher.name=timm/test_resnet", f"teacher.weights={timm_run()}"]
    run = finished(read(recipe, [*changes, "stages=[{methods: [kd]}]"]), tmp_path / "run")
    exported = smskd.export(run, safetensors=tmp_path / "out", torch_export=tmp_path / "s.pt2")
    assert exported.torch_export_deviation is not None
    assert exported.torch_export_deviation.source == "test images"
