"""The comparison as a LaTeX table."""

from pathlib import Path

from smskd.analysis.compare import compare
from smskd.analysis.latex import latex, latex_text
from smskd.analysis.paired import with_differences
from smskd.runs.reader import find_runs
from tests.support.run_folders import PLAIN, write_run


def test_a_table(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"kd{seed}", name="kd_4%", seed=seed, top1=62.0 + 2 * seed)
        write_run(tmp_path / f"plain{seed}", name="plain", seed=seed, stages=PLAIN, top1=60.0 + seed)
    rows, _ = with_differences(compare(find_runs([tmp_path])), "plain")
    lines = latex(rows).splitlines()
    assert lines[0].startswith("% difference to plain, paired by seed")
    begin = lines.index("\\toprule")
    assert lines[begin - 1].startswith("\\begin{tabular}{l")
    header, *cells = [line.removesuffix(" \\\\").split(" & ") for line in lines[begin + 1 :] if " & " in line]
    assert {len(row) for row in cells} == {len(header)}
    assert header[0] == "recipe"
    assert "top-1 last \\%" in header
    by_name = {row[0]: dict(zip(header, row, strict=True)) for row in cells}
    assert by_name["kd\\_4\\%"]["top-1 last \\%"] == "64.00 $\\pm$ 2.00"
    assert by_name["kd\\_4\\%"]["difference"] == "+3.00"
    assert by_name["plain"]["difference"] == "--"
    assert lines[-1] == "\\end{tabular}"


def test_names_are_text() -> None:
    assert latex_text("a\\b{c}$~^#&") == ("a\\textbackslash{}b\\{c\\}\\$\\textasciitilde{}\\textasciicircum{}\\#\\&")
    assert latex_text("fitnet → kd < 1\nend") == "fitnet $\\rightarrow$ kd $<$ 1 end"
