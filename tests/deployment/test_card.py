"""Model cards, and the upload to the hub: against a stand-in for its API, since no test reaches the real one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import smskd
from smskd.deployment.card_text import code, plain
from smskd.errors import UserError
from smskd.runs.reader import load_run
from tests.support.deployed import colours_run, plain_run, timm_run

huggingface_hub = pytest.importorskip("huggingface_hub")


def front_matter(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return found


def test_the_card_tells_the_results(tmp_path: Path) -> None:
    found = smskd.export(plain_run(), safetensors=tmp_path / "out", card=True, license="apache-2.0")
    assert found.card == tmp_path / "out" / "README.md"
    text = found.card.read_text(encoding="utf-8")
    summary = load_run(plain_run()).summary
    top1 = summary["student"]["top1"]
    front = front_matter(text)
    assert front["license"] == "apache-2.0"
    assert front["pipeline_tag"] == "image-classification"
    (result,) = front["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == pytest.approx(top1 / 100, abs=1e-6)
    for part in (
        f"| this student | {top1:.2f} |",
        "smskd.load('out')",
        f"{summary['student']['parameters']:,} parameters",
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "test_samples: 797",
        "These weights: apache-2.0.",
    ):
        assert part in text


def test_the_hub_reads_the_front_matter(tmp_path: Path) -> None:
    smskd.export(plain_run(), safetensors=tmp_path, card=True)
    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "unknown"
    assert card.data.tags == ["knowledge-distillation", "smskd"]
    (result,) = card.data.eval_results
    assert (result.metric_type, result.dataset_name) == ("accuracy", "digits")
    assert result.metric_value == pytest.approx(load_run(plain_run()).summary["student"]["top1"] / 100, abs=1e-6)


def test_no_path_of_the_machine_is_in_a_card(tmp_path: Path) -> None:
    smskd.export(timm_run(), safetensors=tmp_path / "out", card=True, trust=True)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "root: colours" in text
    for place in (timm_run().parent, tmp_path):
        assert str(place) not in text
    assert front_matter(text)["library_name"] == "timm"


def test_names_are_no_markup() -> None:
    assert plain("<b>|*x*\n# y") == r"\<b\>\|\*x\* \# y"
    assert code("a`b") == "`ab`"
    assert plain("/home/somebody/data") == "data"
    assert plain("transformers//home/somebody/vit") == "transformers/vit"


def test_the_card_of_a_stage(tmp_path: Path) -> None:
    stage = plain_run() / "stages" / "1" / "student.safetensors"
    smskd.export(stage, safetensors=tmp_path, card=True)
    assert "this student, at the end of stage 1" in (tmp_path / "README.md").read_text()


def test_a_file_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match=r"README.md was not written by smskd export"):
        smskd.export(plain_run(), safetensors=tmp_path, card=True)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    smskd.export(plain_run(), safetensors=tmp_path / "out", card=True)
    smskd.export(plain_run(), safetensors=tmp_path / "out", card=True, license="mit")
    assert "license: mit" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(UserError, match="is not in the folder of a run"):
        smskd.export(tmp_path / "out", safetensors=tmp_path / "again", card=True)


class Hub:
    """Stands in for ``HfApi``: it keeps what it is given."""

    def __init__(self) -> None:
        self.repositories: dict[str, bool] = {}
        self.files: dict[str, bytes] = {}

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        self.repositories[repository] = private
        return f"https://hub.example/{repository}"

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        self.files |= {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}

    def upload_file(self, *, repo_id: str, path_or_fileobj: str, path_in_repo: str, commit_message: str) -> None:
        self.files[path_in_repo] = Path(path_or_fileobj).read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: found)
    return found


def test_an_upload_has_weights_card_and_graphs(hub: Hub, tmp_path: Path) -> None:
    found = smskd.export(plain_run(), push="somebody/digits", torch_export=tmp_path / "s.pt2")
    assert found.pushed == "https://hub.example/somebody/digits"
    assert (found.folder, found.card) == (None, None)
    assert hub.repositories == {"somebody/digits": True}
    assert set(hub.files) == {"README.md", "config.json", "model.safetensors", "preprocessing.json", "s.pt2"}
    assert b"snapshot_download('somebody/digits')" in hub.files["README.md"]
    assert [path.name for path in tmp_path.iterdir()] == ["s.pt2"]


def test_an_upload_from_a_folder_that_is_kept(hub: Hub, tmp_path: Path) -> None:
    found = smskd.export(timm_run(), push="somebody/c", safetensors=tmp_path / "out", private=False, trust=True)
    assert hub.repositories == {"somebody/c": False}
    assert found.folder == tmp_path / "out"
    assert b"timm.create_model('hf-hub:somebody/c', pretrained=True)" in hub.files["README.md"]
    assert (tmp_path / "out" / "README.md").read_bytes() == hub.files["README.md"]


def test_a_hub_that_refuses(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> str:
        raise OSError("401 Client Error\nmore lines")

    monkeypatch.setattr(hub, "create_repo", refused)
    with pytest.raises(UserError, match=r"^--push: a/b cannot be uploaded: 401 Client Error$"):
        smskd.export(plain_run(), push="a/b")


def test_an_unfinished_run_has_no_card(tmp_path: Path) -> None:
    run = colours_run(tmp_path, {"name": "resnet8_w2"})
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match="unfinished run"):
        smskd.export(run, safetensors=tmp_path / "out", card=True)
