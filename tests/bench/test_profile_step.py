"""The page that ``benchmarks/profile_step.py`` writes."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import profile_step
import pytest

from smskd.bench.case import Case

TINY = Case(
    "resnet8_w4", "resnet8_w2", "kd", batch_size=8, steps=2, data_size=40, classes=5, image_size=8, device="cpu"
)


@pytest.mark.parametrize(("stage", "cache"), [(1, "off"), (2, "memory")])
def test_the_kernels_of_a_step(stage: int, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_step, "_SIDE", 16)
    measured, where = profile_step.profiled(replace(TINY, stage=stage, cache=cache))
    calls = {kernel.name: kernel.calls for kernel in measured.kernels}
    assert calls["aten::convolution_backward"] == 9  # the student's, in each of the two steps
    assert calls["aten::convolution"] == 18  # with the teacher's; or, where that is cached, the reference's
    spent = [kernel.milliseconds for kernel in measured.kernels]
    assert spent == sorted(spent, reverse=True)
    assert measured.busy == pytest.approx(sum(spent))
    assert where["device"] == "cpu"


def test_a_cached_teacher_has_no_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_step, "_SIDE", 16)
    plain, cached = (profile_step.profiled(replace(TINY, cache=cache))[0].gflop for cache in ("off", "memory"))
    assert 0 < cached < plain


def test_the_page() -> None:
    kernels = [profile_step.Kernel("conv|olve", 3.0, 6.0), profile_step.Kernel("add", 1.5, 2.0)]
    measured = profile_step.Profile(10.0, {"data": 1.0, "teacher": 0.0, "backward": 9.0}, kernels, 4.0, 1000.0, 50.0)
    where = {"device_name": "Abacus", "python": "3.12", "torch": "2.11", "tf32": True}
    page = profile_step.page(TINY, measured, where, date(2030, 1, 2))
    assert "Measured on 2030-01-02" in page
    assert "cache off, TF32, compile auto" in page
    assert "**10.00 ms**, 800 images a second. By part, in milliseconds: data 1.00, backward 9.00." in page
    assert "executes kernels in 8.00 ms of them, 80 %" in page
    assert "4.0 GFLOP per step" in page
    assert "1.00 TFLOP/s here; at that speed they would take 4.00 ms, 40 % of the step" in page
    assert "50 GB/s: in the duration of a step, 500 MB" in page
    assert "| 6.000 | 75.0 % | 3.0 | `conv/olve` |" in page


def test_the_program_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_step, "_SIDE", 16)
    out = tmp_path / "P.md"
    words = "--teacher resnet8_w4 --student resnet8_w2 --batch-size 8 --steps 2 --data-size 40 --classes 5"
    profile_step.main([*words.split(), "--image-size", "8", "--device", "cpu", "--out", str(out)])
    assert capsys.readouterr().out.strip() == str(out)
    assert re.search(r"\| [\d.]+ \| [\d.]+ % \| 9\.0 \| `aten::convolution_backward` \|", out.read_text("utf-8"))
    with pytest.raises(SystemExit) as caught:
        profile_step.main(["--data-size", "3"])
    assert caught.value.code == 2
    assert "--data-size: 3 images are too few" in capsys.readouterr().err
