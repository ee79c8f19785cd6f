"""Names that other people have chosen reach a terminal, a spreadsheet and Markdown as text."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from smskd.analysis.compare import Row, compare
from smskd.analysis.tables import csv_text, json_rows, markdown, rich_table
from smskd.analysis.visible import markdown_text, one_line, shortened, spreadsheet_text, visible
from smskd.runs.reader import find_runs
from tests.support.run_folders import write_run

HOSTILE = (
    "\x1b]0;owned\x07\x1b[31mred",
    "=cmd|' /C calc'!A0",
    "<img src=x onerror=alert(1)>|[link](javascript:alert(1))",
    "[bold]markup[/bold] [/nothing]",
    "two\nlines\rand\ttabs",
    "right\u202eleft",
    "\uffff nothing, \x00 end",
    "ﷺ العربية עברית 👩‍🔬",
    "n" * 9_000,
)


@pytest.fixture(params=range(len(HOSTILE)))
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> list[Row]:
    name = HOSTILE[request.param]
    write_run(tmp_path / "a", name=name, student=name[:60], data=name[:60])
    write_run(tmp_path / "b", name=name, student=name[:60], data=name[:60], seed=1, facts={"x": name})
    return compare(find_runs([tmp_path]))


def test_nothing_that_a_terminal_obeys_is_printed(rows: list[Row]) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(rich_table(rows))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.encode("utf-8")
    assert "\x1b]" not in shown.replace("\x1b]8;", "")
    assert not set("\x07\r\t\u202e\uffff") & set(shown)
    assert "\x1b[31m" not in shown


def test_a_markdown_table_stays_a_table_of_text(rows: list[Row]) -> None:
    lines = markdown(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    for line in lines[2:]:
        assert line.replace("\\|", "").count("|") == lines[0].count("|")
        assert "<" not in line
        assert "](" not in line.replace("\\]", "")


def test_a_spreadsheet_sees_no_formula(rows: list[Row]) -> None:
    for record in csv.DictReader(io.StringIO(csv_text(rows))):
        for key in ("name", "label", "student", "data"):
            assert not record[key].startswith(("=", "+", "-", "@", "\t", "\r"))
            assert record[key].replace("\u200d", "").isprintable()
        assert float(record["over_teacher"]) == -13.5


def test_json_keeps_the_name_as_it_is(rows: list[Row]) -> None:
    text = json.dumps(json_rows(rows))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)[0]["name"] == rows[0].name


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (visible("a\x1b[0m\x00\n"), "a\\x1b[0m\\x00\n"),
        (one_line(" a \r\n b"), " a b"),
        (shortened("abcdefghij", 7), "abc…hij"),
        (shortened("abcdefg", 7), "abcdefg"),
        (markdown_text("a_b|<c> _d_ [e](f) `g` \\"), r"a_b\|&lt;c&gt; \_d\_ \[e\](f) \`g\` " + "\\\\"),
        (spreadsheet_text("-1"), "'-1"),
        (spreadsheet_text("a=1"), "a=1"),
    ],
)
def test_texts(found: str, expected: str) -> None:
    assert found == expected
