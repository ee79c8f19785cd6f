"""Parts within a limit of time, and the page of the evidence, tried with the digits."""

import signal
import sys
from pathlib import Path

import evidence
import pytest
import timed_parts
from timed_parts import Part, run_parts


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("begun_by", [signal.SIG_DFL, signal.SIG_IGN], ids=["a terminal", "a shell in the background"])
def test_parts_that_finish_fail_and_are_interrupted(
    begun_by: signal.Handlers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    before = signal.signal(signal.SIGINT, begun_by)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr(timed_parts, "GRACE", 60.0)
    monkeypatch.setattr(timed_parts, "SHORTEST", 0.0)
    # A shell is there at once, unlike Python on a busy machine.
    slow = ["sh", "-c", "trap 'echo left in order; exit 130' INT; while :; do sleep 0.1; done"]
    parts = [
        Part("good", python("print('done')"), 60),
        Part("bad", python("raise SystemExit(3)"), 60),
        Part("slow", slow, 1.5),
        Part("last", python(""), 60),
    ]
    states = [outcome.state for outcome in run_parts(parts, tmp_path, 120)]
    assert states == ["finished", "failed", "interrupted", "finished"]
    assert (tmp_path / "good.log").read_text() == "done\n"
    assert (tmp_path / "slow.log").read_text() == "left in order\n"
    again = [outcome.state for outcome in run_parts(parts[:1] + parts[-1:], tmp_path, 120)]
    assert again == ["before", "before"]
    assert [outcome.state for outcome in run_parts(parts[1:2], tmp_path, 0.4)] == ["not reached"]


def test_a_part_that_does_not_let_itself_be_interrupted_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed_parts, "GRACE", 0.5)
    monkeypatch.setattr(timed_parts, "SHORTEST", 0.0)
    stubborn = "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(600)"
    (outcome,) = run_parts([Part("stubborn", python(stubborn), 1.5)], tmp_path, 120)
    assert outcome.state == "interrupted"


def test_the_evidence_goes_on_and_writes_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ways.yaml").write_text(
        "recipe: digits/protocol\n"
        "set: {teacher.weights: teacher}\n"
        "values: {methods: [[], [kd]]}\n"
    )  # fmt: skip
    changes = ["training.epochs=1", "data.subset.train=70", "data.subset.test=20", "schedule.decay_at=[]"]
    words = ["--out", str(tmp_path / "runs"), "--page", str(tmp_path / "page.md"), "--teachers", "digits/teacher"]
    words += ["--sweep", str(tmp_path / "ways.yaml"), *changes]
    evidence.main([*words, "--limit", "0"])
    page = (tmp_path / "page.md").read_text()
    assert "- teacher: not reached\n- sweep: not reached\n\nNo run is finished." in page
    evidence.main(words)
    page = (tmp_path / "page.md").read_text()
    assert "- teacher: finished in " in page
    assert "- sweep: finished in " in page
    assert "kd" in page.partition("```")[2]
    evidence.main(words)
    assert "- sweep: finished by an earlier call" in (tmp_path / "page.md").read_text()
    assert "sweep: at most" in capsys.readouterr().out
