"""The curves of cost over size: exponents, faults, pages, and points that are small enough for a test."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import scale
import scale_page
import scale_point
from scale_curves import CURVES, Curve, curve, exponent, last_exponent

MACHINE = {"device_name": None, "processor": "a processor", "cores": 2, "python": "3.12", "torch": "2.11"}


def points(found: Curve, power: float = 0.0, last: float = 1.0) -> list[dict[str, float]]:
    """All quantities grow with the power that is expected and ``power``; the last one is ``last`` times as large."""
    made: list[dict[str, float]] = [
        {"size": float(size)} | {q.name: 3 * size ** (q.expected + power) for q in found.quantities}
        for size in found.sizes
    ]
    for quantity in found.quantities:
        made[-1][quantity.name] *= last
    return made


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 2.0])
def test_the_exponent_is_the_slope_of_the_logarithms(power: float) -> None:
    made = [{"size": size, "seconds": 7 * size**power} for size in (10, 100, 5_000)]
    assert exponent(made, "seconds") == pytest.approx(power)
    assert last_exponent([{"size": 1, "seconds": 9.0}, *made], "seconds") == pytest.approx(power)


def test_what_grows_faster_than_its_work_is_a_fault() -> None:
    stages, crd = curve("stages"), curve("images-crd")
    assert not scale_page.faults({"stages": points(stages), "images-crd": points(crd)})
    assert len(scale_page.faults({"stages": points(stages, power=0.3)})) == 3
    (line,) = scale_page.faults({"images-crd": points(crd, power=-0.3)})
    assert line == "images-crd: Images/s has the exponent -0.30, not ≥ 0"
    assert len(scale_page.faults({"stages": points(stages, last=1.4)})) == 3  # the fitted exponents are still small


def test_pages_and_charts_have_every_curve() -> None:
    measured = {found.name: points(found) for found in CURVES}
    results = scale_page.results(measured, MACHINE, ["stages: finished in 3 s"])
    page = scale_page.documentation(measured, MACHINE)
    charts = scale_page.charts(measured)
    for found in CURVES:
        assert f"## {found.title}\n" in results
        assert f"](../images/scale-{found.name}.svg)" in page
        drawn = json.dumps(charts[f"scale-{found.name}.svg"].to_dict())
        assert all(q.title in results and q.title in page and q.title in drawn for q in found.quantities)
    assert "exceeded" not in page
    assert "stages: finished in 3 s" in results
    assert "**exceeded**" in scale_page.documentation({"stages": points(curve("stages"), power=1.0)}, MACHINE)


def test_points_that_are_missing_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> Any:
        commands.append(command[2:])
        if len(commands) == 2:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, 0, f'a note\n{{"size": {command[3]}, "run_seconds": 1.5}}\n')

    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", run)
    stages = curve("stages")
    with pytest.raises(KeyboardInterrupt):
        scale.measure(stages, tmp_path, quick=False)
    scale.measure(stages, tmp_path, quick=False)
    assert commands == [["stages", str(size)] for size in (1, 2, *stages.sizes[1:])]
    assert [point["size"] for point in scale.points_of(tmp_path, stages)] == list(stages.sizes)
    assert scale_point.POINTS.keys() == {found.name for found in CURVES}


@pytest.mark.parametrize("options", [["--quick"], ["stages"], ["stages", "--quick"]])
def test_the_pages_of_the_repository_are_of_whole_measurements(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        scale.main(options)
    assert "give a folder with --pages" in capsys.readouterr().err


def test_quick_points_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(scale, "run_parts", lambda parts, folder, limit: folders.append(folder) or [])
    for options in (["--quick"], []):
        scale.main(["stages", "--out", str(tmp_path), "--pages", str(tmp_path / "pages"), *options])
    assert folders == [tmp_path / "quick" / "parts", tmp_path / "parts"]


def test_a_small_point_has_the_quantities_of_its_curve() -> None:
    found = curve("negatives")
    point = scale_point.point(found.name, found.quick[0], quick=True)
    assert point["size"] == found.quick[0]
    assert all(point[quantity.name] > 0 for quantity in found.quantities)
