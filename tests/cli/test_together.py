"""`smskd train --together` and `smskd resume --together`."""

from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.program import TINY, fine, mistake


def test_seeds_beside_each_other_are_those_one_after_another(here: Path) -> None:
    words = ("train", "digits/plain", *TINY, "--seeds", "0,1")
    fine(*words, "--out", "alone", "--quiet")
    lines = fine(*words, "--out", "together", "--together").splitlines()
    assert [line.startswith("plain seed 0  epoch 1  stage 1") for line in lines].count(True) == 1
    assert sum(line.endswith("report.html") for line in lines) == 2
    for seed in ("seed0", "seed1"):
        assert tiny.outcome(Path("together") / seed) == tiny.outcome(Path("alone") / seed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--together",), "--together needs --seeds"),
        (("--seeds", "0,1", "--at-most", "2"), "--at-most needs --together"),
        (
            ("--seeds", "0,1", "--together", "data.loader.kind=streaming", "data.loader.workers=1"),
            "data.loader.workers=0",
        ),
    ],
)
def test_mistakes(here: Path, words: tuple[str, ...], message: str) -> None:
    assert message in mistake("train", "digits/plain", *TINY, *words)
    assert not (here / "runs" / "plain").exists()
