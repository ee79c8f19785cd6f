"""Means, deviations and differences, against values computed by hand."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from smskd.analysis.compare import Row, compare
from smskd.analysis.format import count, difference, duration, ratio, spread
from smskd.analysis.tables import columns, common, csv_text, json_rows, markdown, rich_table
from smskd.runs.reader import find_runs, load_run
from tests.support.run_folders import PLAIN, THREE, sealed, write_run


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    paths = [
        write_run(tmp_path / f"kd{seed}", seed=seed, top1=top1, best=best, forgotten=lost, seconds=time)
        for seed, top1, best, lost, time in (
            (0, 64.0, 65.0, 18, 10.0),
            (1, 66.0, 66.5, 27, 11.0),
            (2, 68.0, 69.5, 36, 15.0),
        )
    ]
    plain = write_run(tmp_path / "plain", name="plain", stages=PLAIN, top1=60.0, best=61.0, teacher_top1=None)
    paths.append(plain)
    return compare(find_runs(paths))


def test_means_and_sample_deviations(rows: list[Row]) -> None:
    row = rows[0]
    assert row.seeds == (0, 1, 2)
    assert row.top1_last.mean == pytest.approx(66.0)
    assert row.top1_last.deviation == pytest.approx(2.0)  # sqrt((4 + 0 + 4) / 2)
    assert row.top1_best is not None
    assert row.top1_best.mean == pytest.approx(67.0)
    assert row.top1_best.deviation == pytest.approx(5.25**0.5)  # sqrt((4 + 0.25 + 6.25) / 2)
    assert row.top5_last is not None
    assert row.top5_last.mean == 97.0
    assert row.seconds == pytest.approx(12.0)


def test_forgotten_is_the_mean_share_of_the_test_samples(rows: list[Row]) -> None:
    assert rows[0].forgotten == pytest.approx(7.5)  # (18 + 27 + 36) / 3 of 360
    assert rows[1].forgotten is None


def test_differences_to_plain_and_teacher(rows: list[Row]) -> None:
    assert rows[0].over_plain == pytest.approx(6.0)
    assert rows[0].over_teacher == pytest.approx(-12.5)
    assert rows[0].gap_closed == pytest.approx(100 * 6.0 / 18.5)
    plain = rows[1]
    assert (plain.plain, plain.over_plain, plain.over_teacher, plain.gap_closed) == (True, None, None, None)


def test_one_seed_has_no_deviation(rows: list[Row]) -> None:
    assert rows[1].top1_last.deviation is None
    assert spread(rows[1].top1_last) == "60.00"
    assert spread(rows[0].top1_last) == "66.00 ± 2.00"


def test_the_last_stage_counts_for_the_forgotten(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", stages=THREE)
    summary = json.loads((folder / "summary.json").read_text())
    for stage, forgotten in ((1, 90), (2, 9)):
        summary["stages"][stage] |= {"forgotten": forgotten, "never_known": 124 - forgotten}
    (folder / "summary.json").write_text(sealed(summary))
    assert compare([load_run(folder)])[0].forgotten == pytest.approx(2.5)


def test_runs_of_other_students_teachers_or_data_stand_apart(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", student="resnet8"),
        write_run(tmp_path / "c", data="cifar10"),
        write_run(tmp_path / "d", teacher_top1=None),
        write_run(tmp_path / "e", seed=1),
        write_run(tmp_path / "plain", name="plain", stages=PLAIN, student="resnet8", top1=60.0),
    ]
    rows = compare(find_runs(paths))
    assert [len(row.runs) for row in rows] == [2, 1, 1, 1, 1]
    assert [row.over_plain for row in rows] == [None, pytest.approx(5.0), None, None, None]
    assert [row.label for row in rows] == [
        "fitnet-kd · data.source.name=digits, student.name=resnet8x4, teacher.name=resnet20",
        "fitnet-kd · data.source.name=digits, student.name=resnet8, teacher.name=resnet20",
        "fitnet-kd · data.source.name=cifar10, student.name=resnet8x4, teacher.name=resnet20",
        "fitnet-kd · data.source.name=digits, student.name=resnet8x4, teacher.name=–",
        "plain",
    ]


def test_few_classes_have_no_top5(tmp_path: Path) -> None:
    rows = compare([load_run(write_run(tmp_path / "run", classes=5))])
    assert rows[0].top5_last is None
    assert "top-5 last %" not in [column.title for column in columns(rows)]


def test_without_a_validation_split_no_table_has_a_best_epoch(tmp_path: Path) -> None:
    (row,) = rows = compare(find_runs([write_run(tmp_path / f"{seed}", seed=seed) for seed in range(2)]))
    assert row.top1_best is None
    assert "top-1 best %" not in [column.title for column in columns(rows)]
    assert "best" not in markdown(rows)
    assert "best" not in shown_in_terminal(rows, 120)
    (values,) = json_rows(rows)
    assert (values["top1_best_mean"], values["top1_best_sd"]) == (None, None)
    (read,) = csv.DictReader(io.StringIO(csv_text(rows)))
    assert read["top1_best_mean"] == ""


def test_runs_with_and_without_validation_have_no_common_best(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / "a", seed=0, best=66.0), write_run(tmp_path / "b", seed=1)]
    assert compare(find_runs(paths))[0].top1_best is None


def shown_in_terminal(rows: list[Row], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(rich_table(rows, width=width))
    return console.export_text()


def test_markdown_names_last_and_best(rows: list[Row]) -> None:
    lines = markdown(rows).splitlines()
    assert lines[0].split(" | ")[4:7] == ["top-1 last %", "top-1 best %", "top-5 last %"]
    assert "| 66.00 ± 2.00 | 67.00 ± 2.29 | 97.00 ± 0.00 | 78.50 | +6.00 | −12.50 | 7.50 | 12.0 s |" in lines[2]
    assert len({line.count("|") for line in lines}) == 1


def test_csv_holds_the_values_in_full(rows: list[Row]) -> None:
    read = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert rows[0].top1_best is not None
    assert float(read[0]["top1_best_sd"]) == rows[0].top1_best.deviation
    assert (read[0]["seeds"], read[1]["top1_last_sd"], read[1]["teacher"]) == ("0 1 2", "", "")


def test_json_rows_are_plain_json(rows: list[Row]) -> None:
    read = json.loads(json.dumps(json_rows(rows), allow_nan=False))
    assert read[0]["seeds"] == [0, 1, 2]
    assert read[0]["forgotten_percent"] == pytest.approx(7.5)
    assert read[1]["top1_last_sd"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_table_loses_nothing(rows: list[Row], width: int) -> None:
    shown = shown_in_terminal(rows, width)
    assert all(len(line) <= width for line in shown.splitlines())
    for text in ("fitnet", "plain", "66.00", "67.00", "+6.00", "7.50", "forgotten"):
        assert text in shown
    for text in ("−12.50", "12.0 s"):
        assert (text in shown) == (width == 120), "where room is scarce, it is in the other forms of the table"
    assert "…" not in shown
    assert "best: the epoch with the highest accuracy on the validation split" in " ".join(shown.split())
    assert "student resnet8x4 · teacher resnet20 · data digits" in " ".join(shown.split())
    assert "teacher top-1 78.50 %" in " ".join(shown.split())


def test_common_leaves_out_what_differs(tmp_path: Path) -> None:
    rows = compare(find_runs([write_run(tmp_path / name, name=name, student=name) for name in ("a", "b")]))
    assert common(rows) == {"teacher": "resnet20", "data": "digits", "teacher top-1 %": "78.50"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count(950), "950"),
        (count(78_042), "78.0 k"),
        (count(999_999), "1.00 M"),
        (count(1_250_000), "1.25 M"),
        (count(272_474), "272 k"),
        (count(None), "–"),
        (ratio(40_800_000, 12_500_000), "3.26×"),
        (ratio(None, 5), "–"),
        (difference(-0.354), "−0.35"),
        (difference(1.2), "+1.20"),
        (duration(59.94), "59.9 s"),
        (duration(59.96), "1 min 00 s"),
        (duration(245), "4 min 05 s"),
        (duration(7380), "2 h 03 min"),
    ],
)
def test_numbers_in_words(text: str, expected: str) -> None:
    assert text == expected
