"""``smskd bench step``: its result, the steps that it times, its messages; never a duration."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
import torch

from smskd.bench import baseline_data
from smskd.bench import step as step_file
from smskd.bench.baseline_loop import BaselineLoop
from smskd.bench.baseline_process import BaselineProcess
from smskd.bench.baseline_turns import BaselineTurns
from smskd.bench.case import Case, random_dataset, write_teacher
from smskd.bench.step import TimedLoop, bench_step
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.timing import PARTS, Clock
from smskd.training.step import Step
from tests.support.program import fine, mistake, smskd

TINY = Case(
    "resnet8_w4", "resnet8_w2", "kd", batch_size=8, steps=3, data_size=40, classes=5, image_size=8, device="cpu"
)
WORDS = (
    "--teacher", "resnet8_w4", "--student", "resnet8_w2", "--batch-size", 8, "--steps", 2, "--data-size", 40,
    "--classes", 5, "--image-size", 8, "--device", "cpu",
)  # fmt: skip
MEASURES = {"images_per_second", "step_milliseconds", "milliseconds", "peak_memory_bytes"}


class BaselineHere(BaselineTurns):
    """The baseline loop without a process of its own."""

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline loop and its DataLoader run in this process, and CRD draws few negatives."""
    monkeypatch.setattr(baseline_data, "NEGATIVES", 6)
    monkeypatch.setitem(BaselineLoop.__init__.__kwdefaults__, "workers", 0)
    monkeypatch.setattr(step_file, "BaselineProcess", BaselineHere)


def check_measures(measures: dict[str, Any], stage: int) -> None:
    assert set(measures["milliseconds"]) == set(PARTS)
    run = set(PARTS) - {"other"} - ({"reference"} if stage == 1 else set())
    assert {part for part in run if measures["milliseconds"][part] > 0} == run
    assert (measures["milliseconds"]["reference"] > 0) == (stage == 2)
    assert measures["step_milliseconds"] > 0
    assert measures["images_per_second"] > 0
    assert measures["peak_memory_bytes"] is None or measures["peak_memory_bytes"] >= 0


@pytest.mark.parametrize(("method", "stage"), [("kd", 1), ("kd", 2), ("fitnet", 1), ("crd", 2)])
def test_both_loops_are_measured_in_full(method: str, stage: int) -> None:
    case = replace(TINY, method=method, stage=stage)
    result = bench_step(case)
    assert result.keys() == {
        "format", "teacher", "student", "method", "stage", "batch_size", "steps", "epochs", "data_size",
        "classes", "image_size", "cache", "compile", "precision", "device", *MEASURES, "baseline", "ratio",
        "environment",
    }  # fmt: skip
    assert result["baseline"].keys() == MEASURES
    check_measures(result, stage)
    check_measures(result["baseline"], stage)
    assert result["ratio"] > 0
    assert (result["device"], result["method"], result["stage"]) == ("cpu", method, stage)
    json.dumps(result, allow_nan=False)


def test_a_method_that_the_baseline_loop_does_not_have() -> None:
    result = bench_step(replace(TINY, method="at"))
    assert result["baseline"] is None
    assert result["ratio"] is None
    assert result["step_milliseconds"] > 0


def test_the_requested_steps_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[tuple[str, int]] = []
    speeds = {"ours": iter((1.0, 300.0, 100.0, 900.0)), "baseline": iter((1.0, 100.0, 50.0, 100.0))}

    def note(name: str, original: Any) -> Any:
        def turn(self: Any, steps: int) -> float:
            turns.append((name, steps))
            assert original(self, steps) > 0
            return next(speeds[name])

        return turn

    monkeypatch.setattr(TimedLoop, "turn", note("ours", TimedLoop.turn))
    monkeypatch.setattr(BaselineTurns, "turn", note("baseline", BaselineTurns.turn))
    costs: list[int] = []
    cost = Clock.cost

    def of_all(self: Clock, last: int = 0) -> Any:
        if not last:
            costs.append(len(self._timed))
        return cost(self, last)

    monkeypatch.setattr(Clock, "cost", of_all)
    result = bench_step(replace(TINY, steps=10))
    assert turns == [(name, steps) for steps in (1, 4, 4, 2) for name in ("ours", "baseline")]
    assert costs == [10, 10]
    assert result["ratio"] == 3


def test_the_baseline_loop_has_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, memory is allocated with the default settings."""
    monkeypatch.setattr(step_file, "BaselineProcess", BaselineProcess)
    before = set(multiprocessing.active_children())
    result = bench_step(replace(TINY, steps=1))
    check_measures(result["baseline"], 1)
    assert set(multiprocessing.active_children()) == before


def test_a_baseline_process_that_ends_early(capfd: pytest.CaptureFixture[str]) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(UserError, match="process of the baseline loop ended with exit code 1"):
        BaselineProcess({"device": "cpu", "method": "none of them"}, None)
    assert "Error" in capfd.readouterr().err
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("stage", [1, 2])
def test_a_cache_is_warm_when_steps_are_timed(stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float | None] = []
    call = Step.__call__

    def noted(self: Step, batch: Batch) -> Any:
        cache = self.objective.parts.cache  # type: ignore[attr-defined]
        assert cache is not None
        cache.share_of_hits()
        losses = call(self, batch)
        shares.append(cache.share_of_hits())
        return losses

    monkeypatch.setattr(Step, "__call__", noted)
    bench_step(replace(TINY, cache="memory", stage=stage, steps=17, data_size=43))
    assert shares == [1.0] * (1 + 17 + 6 * 2)


def test_steps_continue_from_epoch_to_epoch() -> None:
    loop = TimedLoop(step_file.built(TINY, random_dataset(TINY)))
    batches = (group.batch for group in loop._endless())
    ids = [tuple(next(batches).index.tolist()) for _ in range(10)]  # type: ignore[union-attr]
    assert sorted(sum(ids[:5], ())) == list(range(40))
    assert sorted(sum(ids[5:], ())) == list(range(40))
    assert ids[:5] != ids[5:]


def test_the_logits_of_a_random_teacher_are_moderate(tmp_path: Path) -> None:
    case = replace(TINY, teacher="resnet56", image_size=16)
    dataset = random_dataset(case)
    write_teacher(case, dataset, tmp_path / "teacher.safetensors")
    from smskd import models

    teacher = models.create("resnet56", classes=5)
    models.load_weights(teacher, tmp_path / "teacher.safetensors")
    logits = teacher.eval()(dataset.normalisation().apply(dataset.train.pixels))
    assert logits.abs().max() < 100
    assert logits.std(0).min() > 1e-3


def test_all_classes_have_equally_many_images() -> None:
    assert torch.equal(random_dataset(TINY).train.labels.bincount(), torch.full((5,), 8))


class TestCommand:
    def test_json_is_all_that_is_printed(self) -> None:
        result = json.loads(fine("bench", "step", *WORDS, "--method", "kd", "--json", "-"))
        assert set(result) > MEASURES
        assert result["steps"] == 2

    def test_json_into_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "result.json"
        shown = fine("bench", "step", *WORDS, "--method", "fitnet", "--stage", 2, "--json", file)
        assert "times as fast as the baseline loop" in shown
        assert json.loads(file.read_text(encoding="utf-8"))["stage"] == 2

    def test_a_table_for_people(self) -> None:
        shown = fine("bench", "step", *WORDS, "--method", "kd")
        for words in ("smskd  baseline loop", "student forward", "images per second", "peak memory", "step "):
            assert words in shown
        assert "reference" not in shown
        assert max(map(len, shown.splitlines())) <= 80

    def test_the_group_shows_its_commands(self) -> None:
        outcome = smskd("bench")
        assert (outcome.code, outcome.err) == (0, "")
        assert "│ step " in outcome.out
        assert "│ run " in outcome.out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--method", "kdd"], "unknown method 'kdd'; did you mean 'kd'?"),
            (["--method", "kd", "--teacher", "resnet57"], "unknown model 'resnet57'; did you mean 'resnet"),
            (["--method", "kd", "--student", "resnet57"], "unknown model 'resnet57'; did you mean 'resnet"),
            (["--method", "kd", "--stage", 3], "'--stage'"),
            (["--method", "kd", "--steps", 0], "'--steps'"),
            (["--method", "kd", "--steps", "many"], "'--steps'"),
            (["--method", "kd", "--cache", "disk"], "--cache: 'disk' must be off or memory"),
            (["--method", "kd", "--compile", "yes"], "compile: must be 'auto', 'on' or 'off', not 'yes'"),
            (["--method", "kd", "--precision", "fp8"], "precision: must be 'fp32', 'bf16' or 'fp16', not 'fp8'"),
            (["--method", "kd", "--device", "gpu"], "runtime.device: 'gpu' is not available"),
            (["--method", "kd", "--data-size", 7], "--data-size: 7 images are too few for batches of 8"),
            (["--method", "kd", "--json", "/no/such/folder/file"], "--json: /no/such/folder is not a folder"),
            (["--method", "kd", "--json", "/"], "--json: / is a folder"),
            ([], "Missing option '--method'"),
            (["--method", "kd", "--nonsense"], "No such option"),
        ],
    )
    def test_mistakes(self, words: list[object], message: str) -> None:
        assert message in mistake("bench", "step", *WORDS, *words)
