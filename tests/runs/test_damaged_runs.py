"""Whatever is damaged in the files of a finished run, its reader gives one line with the file; others still count."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smskd.analysis.compare import compare
from smskd.analysis.tables import csv_text, markdown
from smskd.errors import UserError
from smskd.report.page import write_report
from smskd.runs.reader import find_finished, find_runs, load_run
from tests.support.run_folders import sealed, write_run

JUNK: tuple[Any, ...] = (None, True, -1, 10**30, 1e308, "text", "x" * 20_000, [], [[]], {}, {"a": {}}, ["a"])
"""Values for every key, of which most have the wrong type or size."""


def keys_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all keys in nested mappings and lists."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*path, key)
        yield from keys_of(item, (*path, key))


def has(value: Any, path: tuple[Any, ...]) -> bool:
    """Whether there is a value at a path."""
    return path in set(keys_of(value))


def changed(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """A copy with another value at a path; ``...`` removes the key."""
    copy = json.loads(json.dumps(value))
    owner = copy
    for key in path[:-1]:
        owner = owner[key]
    if junk is ...:
        del owner[path[-1]]
    else:
        owner[path[-1]] = junk
    return copy


def told_or_usable(folder: Path) -> str | None:
    """The line about a run that cannot be read; None for one that the tables can show."""
    try:
        run = load_run(folder)
    except UserError as error:
        line = str(error)
    else:
        assert markdown(compare([run]))
        assert csv_text(compare([run]))
        return None
    assert "\n" not in line
    assert len(line) < 1000
    return line


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "pretraining.jsonl"])
def test_no_value_of_any_key_is_a_traceback(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path / "run", best=66.0, pretraining=["ab"], epochs_per_stage=2)
    file = folder / name
    first, *others = file.read_text().splitlines()
    content = json.loads(first)
    told = 0
    paths = [path for path in keys_of(content) if path[0] not in ("checksum", "identity")]
    for place, path in enumerate(paths):
        for junk in (..., *JUNK[place % 4 :: 4]):
            file.write_text("\n".join([sealed(changed(content, path, junk)), *others]))
            line = told_or_usable(folder)
            told += line is not None
            assert line is None or line.startswith(str(file)), (path, junk)
    assert told > len(paths) / 2


def test_the_page_needs_no_key_that_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smskd.report.page.library", lambda: "")
    folder = write_run(tmp_path / "run", best=66.0, pretraining=["ab"], epochs_per_stage=2)
    for name in ("summary.json", "metrics.jsonl", "pretraining.jsonl"):
        file = folder / name
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for path in list(keys_of(lines[0])):
            shorter = [changed(line, path, ...) if has(line, path) else line for line in lines]
            file.write_text("\n".join(map(sealed, shorter)))
            if told_or_usable(folder) is None:
                lines = shorter
        file.write_text("\n".join(map(sealed, lines)))
    (folder / "environment.json").unlink()
    run = load_run(folder)
    assert "test_top5" not in run.metrics[0]
    html = write_report([run], tmp_path / "page.html").path.read_text()
    assert "the environment of the run is unknown" in html


@pytest.mark.parametrize(
    ("path", "junk", "expected"),
    [
        (("student", "top1_last"), "65", "student.top1_last must be a number, not '65'"),
        (("data", "train_samples"), ..., "data.train_samples missing"),
        (("stages", 1, "cost", "images_per_second"), ..., "stages.1.cost.images_per_second missing"),
        (("stages", 0, "epochs"), [1, 2, 3], "stages.0.epochs must have at most 2 entries"),
        (("stages", 1, "epochs"), [1, 4], "stages.1.epochs do not follow those of the stage before"),
        (("stages", 1, "forgotten"), 0, "stages.1: retained, forgotten, learned, never_known are not all of"),
        (("stages",), [], "stages must have at least 1 entries"),
        (("name",), "x" * 20_000, "name must have at most 10,000 characters"),
        (("epochs",), 5, "the stages have 4 epochs, the run 5"),
        (("identity",), ..., "identity missing"),
    ],
)
def test_the_line_names_file_and_key(tmp_path: Path, path: tuple[Any, ...], junk: Any, expected: str) -> None:
    folder = write_run(tmp_path / "run", epochs_per_stage=2)
    file = folder / "summary.json"
    file.write_text(sealed(changed(json.loads(file.read_text()), path, junk)))
    assert str(told_or_usable(folder)).startswith(f"{file}: damaged: {expected}")


def test_metrics_are_all_there_and_those_of_the_summary(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", epochs_per_stage=2)
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines()
    last = json.loads(lines[-1])
    for content, expected in (
        ([*lines[:1], *lines[2:]], ": damaged: epoch 2 is missing; the run has 4 epochs"),
        ([*lines, sealed({**last, "epoch": 5})], ": damaged: 5 epochs; the run has 4 epochs"),
        (
            [*lines[:3], sealed({**last, "test_top1": 1.0})],
            ": damaged: test_top1 of the last epoch is not student.top1",
        ),
        ([*lines[:3], sealed({**last, "stage": 3})], ", line 4: damaged: stage must be at most 2, not 3"),
        ([*lines[:3], sealed({**last, "losses": {"ce": 1.0}})], ", line 4: damaged: losses.total missing"),
        ([*lines[:3], lines[3].replace("test_top1", "test_top2")], ", line 4: damaged: its checksum does not match"),
    ):
        file.write_text("\n".join(content))
        assert str(told_or_usable(folder)).startswith(f"{file}{expected}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"format": NaN}', "damaged JSON: NaN is not a number in JSON"),
        (b"[" * 100_000, "damaged JSON: nested too deeply"),
        (b'{"format": ' + b"1" * 5000 + b"}", "damaged JSON: Exceeds the limit"),
        (b"\xff\xfe", "cannot be read: byte 0 is not UTF-8"),
        (b"\x00" * 50, "damaged JSON"),
        (b"", "damaged JSON"),
    ],
)
def test_what_is_no_json_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "summary.json").write_bytes(content)
    assert words in str(told_or_usable(folder))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    os.mkfifo(folder / "metrics.jsonl")
    assert str(told_or_usable(folder)) == f"{folder / 'metrics.jsonl'}: this is not a file"


def test_one_bad_run_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    good = [write_run(tmp_path / "runs" / f"{seed}", seed=seed) for seed in range(2)]
    damaged = write_run(tmp_path / "runs" / "damaged")
    (damaged / "summary.json").write_text("{")
    unfinished = write_run(tmp_path / "runs" / "unfinished", finished=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs" / "circle").symlink_to(tmp_path / "runs")
    runs, remarks = find_finished([tmp_path / "runs", tmp_path / "empty"])
    assert [run.path for run in runs] == good
    assert [remark.split(": ", 2)[:2] for remark in remarks] == [
        ["left out", str(tmp_path / "empty")],
        ["left out", f"{damaged / 'summary.json'}, line 1"],
        ["left out", str(unfinished)],
    ]
    with pytest.raises(UserError):
        find_runs([tmp_path / "runs"])
    with pytest.raises(UserError, match=r"unfinished run.* \(and 1 more without a finished run\)"):
        find_finished([unfinished, damaged])
