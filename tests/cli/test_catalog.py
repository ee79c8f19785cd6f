"""The catalog of `smskd methods`, `anchors`, `strategies` and `models`."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from smskd.cli.catalog import FILE, entry
from smskd.cli.catalog_source import build_catalog
from smskd.errors import UserError

OWN = '''
from dataclasses import dataclass
from smskd.methods.kd import KD

@dataclass(frozen=True)
class Own(KD):
    """A method of a module in the working folder."""
'''


def test_the_catalog_is_what_the_classes_say() -> None:
    stored = json.loads(files("smskd.cli").joinpath(FILE).read_text(encoding="utf-8"))
    assert stored == build_catalog(), "out of date; write it anew with: make catalog"


def test_what_is_not_in_the_catalog_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "catalogued_method.py").write_text(OWN)
    described = entry("methods", "catalogued_method:Own")
    assert described["summary"] == "A method of a module in the working folder."
    assert described["taps"] == ["logits"]
    with pytest.raises(UserError, match=r"^unknown method 'kdd'; did you mean 'kd'\?$"):
        entry("methods", "kdd")
