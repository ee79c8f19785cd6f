"""`smskd methods`: taps, trained modules, pretraining and golden cases of each method."""

import json
import sys
from pathlib import Path

import pytest

from smskd.cli.method_facts import MethodFacts, method_facts
from smskd.cli.show_methods import compact
from tests.support.program import fine

GOLDEN = Path(__file__).parents[1] / "golden" / "losses"


@pytest.mark.parametrize(
    ("name", "taps", "trains", "pretraining_epochs"),
    [
        ("kd", ("logits",), (), 0),
        ("mlkd", ("logits", "logits@strong"), (), 0),
        ("fitnet", ("stage2",), ("regressor",), 0),
        ("crd", ("pooled",), ("embed_student", "embed_teacher"), 0),
        ("ab", ("stage1.preact", "stage2.preact", "stage3.preact"), ("connector",), 30),
        ("fsp", ("stem", "stage1", "stage2", "stage3"), (), 30),
        ("ft", ("stage3",), ("paraphraser", "translator"), 30),
    ],
)
def test_facts(name: str, taps: tuple[str, ...], trains: tuple[str, ...], pretraining_epochs: int) -> None:
    facts = method_facts(name)
    assert (facts.taps, set(facts.trains), facts.pretraining_epochs) == (taps, set(trains), pretraining_epochs)


def test_consecutive_names_are_contracted() -> None:
    assert compact(("stem", "stage1", "stage2", "stage3", "pooled")) == "stem stage1-3 pooled"
    assert compact(("stage1.preact", "stage2.preact")) == "stage1-2.preact"
    assert compact(("stage1.preact", "stage2")) == "stage1.preact stage2"
    assert compact(("logits", "logits@strong")) == "logits logits@strong"
    assert compact(("stage2",)) == "stage2"
    assert compact(()) == ""


def test_the_table_has_the_facts() -> None:
    rows = {line.split()[0]: line.split() for line in fine("methods").splitlines() if not line.startswith(" ")}
    golden = len(list(GOLDEN.glob("fitnet__*.safetensors")))
    assert rows["fitnet"] == ["fitnet", "feature", "stage2", "regressor", "100", str(golden)]
    assert rows["ft"][-3:] == ["30", "200", str(len(list(GOLDEN.glob("ft__*.safetensors"))))]
    assert rows["method"] == ["method", "kind", "reads", "trains", "phase", "weight", "golden"]


def test_a_method_in_full_has_the_facts() -> None:
    words = " ".join(fine("methods", "ft").split())
    assert (
        "trains paraphraser, translator pretraining 30 epochs before the stage golden equals published code in 4 tests"
        in words
    )
    assert "trains no layers of its own pretraining none" in " ".join(fine("methods", "kd").split())
    facts = json.loads(fine("methods", "ft", "--json"))
    assert (facts["taps"], facts["pretraining_epochs"], facts["golden_cases"]) == (["stage3"], 30, 4)


def test_a_method_that_takes_neither_pair_is_listed_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picky.py").write_text(
        "from dataclasses import dataclass\n"
        "from smskd.errors import UserError\n"
        "from smskd.methods.kd import KD\n"
        "@dataclass(frozen=True)\n"
        "class Picky(KD):\n"
        "    def reads(self, student, teacher):\n"
        "        raise UserError('nothing will do')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert method_facts("picky:Picky") == MethodFacts()
    printed = fine("methods", "picky:Picky")
    assert "trains no layers of its own" in " ".join(printed.split())
    assert "golden none" in " ".join(printed.split())
    del sys.modules["picky"]
