"""Published accuracies beside measured ones."""

from pathlib import Path

import pytest

from smskd.analysis.compare import compare, with_published
from smskd.analysis.published import Published, read_published
from smskd.analysis.tables import csv_text, json_rows, markdown
from smskd.errors import UserError
from smskd.runs.reader import find_runs
from tests.support.run_folders import write_run

HEADER = "dataset,teacher,student,method,top1,kind,protocol,source\n"
LINES = (
    "cifar100,resnet56,resnet20,none,72.34,teacher,one,somewhere\n",
    "cifar100,resnet56,resnet20,none,69.06,student,one,somewhere\n",
    "cifar100,resnet110,resnet20,none,69.06,student,one,somewhere\n",
    "cifar100,resnet56,resnet20,kd,70.66,distilled,one,somewhere\n",
    "cifar100,resnet56,resnet20,kd,70.5,distilled,two,elsewhere\n",
    "cifar100,resnet110,resnet20,kd,70.67,distilled,one,somewhere\n",
    "cifar100,resnet56,resnet20,fitnet->kd,71.5,distilled,three,somewhere\n",
    "cifar100,resnet56,resnet20,dkd+lskd,71.4,distilled,three,somewhere\n",
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "published.csv"
    path.write_text(HEADER + "".join(LINES))
    return path


def test_the_file(table: Path) -> None:
    found = read_published(table)
    assert [(entry.teacher, entry.methods, entry.top1) for entry in found] == [
        (None, None, 69.06),
        ("resnet56", "kd", 70.66),
        ("resnet56", "kd", 70.5),
        ("resnet110", "kd", 70.67),
        ("resnet56", "fitnet → kd", 71.5),
        ("resnet56", "dkd + lskd", 71.4),
    ]
    assert found[1].text == "70.66 (one)"


def test_rows_find_the_figures_of_their_models_methods_and_data(tmp_path: Path, table: Path) -> None:
    made = {"plain": [[]], "kd": [["kd"]], "two": [["fitnet"], ["kd"]], "late": [["kd"], ["fitnet"]]}
    for name, stages in made.items():
        for data in ("cifar100", "cifar10"):
            write_run(
                tmp_path / data / name,
                name=f"{name}-{data}",
                stages=stages,
                student="resnet20",
                data=data,
                facts={"teacher.name": "resnet56"},
            )
    rows = with_published(compare(find_runs([tmp_path])), read_published(table))
    found = {row.name: [entry.top1 for entry in row.published] for row in rows}
    teachers = {row.teacher for row in rows}
    assert teachers == {"resnet20"}
    assert found["plain-cifar100"] == [69.06]
    assert found["kd-cifar100"] == []  # another teacher

    rows = with_published(rows, [Published("cifar100", "resnet20", "resnet20", "fitnet → kd", 71.5, "three")])
    found = {row.name: [entry.text for entry in row.published] for row in rows}
    assert found.pop("two-cifar100") == ["71.50 (three)"]
    assert set(map(tuple, found.values())) == {()}
    assert "71.50 (three)" in markdown(rows)
    assert "name of its training protocol" in markdown(rows)
    assert "71.50 (three)" in csv_text(rows)
    assert [row["published"] for row in json_rows(rows)].count("71.50 (three)") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'dataset'; published accuracies have dataset, teacher, student, method, top1"),
        (HEADER + "c,t,s,kd,high,distilled,p,x\n", "line 2: top1 is 'high'; it has to be a number from 0 to 100"),
        (HEADER + "c,t,s,kd,nan,distilled,p,x\n", "line 2: top1 is 'nan'; it has to be"),
        (HEADER + "c,t,s,kd,170,distilled,p,x\n", "line 2: top1 is '170'; it has to be"),
        (HEADER + "c,t,s,kd\n", "line 2: the kind is ''; it has to be one of teacher, student, distilled"),
        (HEADER + "c,t,s,kd,70,pupil,p,x\n", "line 2: the kind is 'pupil'; it has to be one of"),
        ("", "no column 'dataset'"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "published.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_published(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_missing_or_binary_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_published(tmp_path / "nowhere.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="cannot be read"):
        read_published(tmp_path / "image.csv")
