"""Between two stages: the weights that are carried on, those that are frozen as the reference, and the counts of
samples that the student retains and forgets."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import StageConfig, Which
from smskd.runs.folder import RunFolder
from smskd.training.accuracy import evaluate
from smskd.training.config import RunConfig
from smskd.training.reports import EpochReport
from smskd.training.run import run
from tests.support import tiny
from tests.support.scripted_accuracy import script_accuracies
from tests.support.stage_starts import StageStart, Weights

HELD_OUT = 20
VALIDATION = [10.0, 40.0, 40.0, 20.0]
"""Accuracies of the four epochs of the first stage on the validation split: the best is the second."""
TEST = [50.0, 30.0, 35.0, 90.0]
"""On the test set the fourth would be the best."""


def two_stages(first: StageConfig) -> RunConfig:
    """Four epochs of FitNets, two of KD."""
    stages = [(replace(first, ends_after=4), ["fitnet"]), (StageConfig(), ["kd"])]
    return tiny.built(tiny.recipe(stages, epochs=6, anchor=ReferenceKL(), validation=HELD_OUT))


def weights_by_epoch(made: RunConfig, folder: Path) -> list[Weights]:
    return [tiny.bits(made.student) for report in run(made, RunFolder(folder)) if isinstance(report, EpochReport)]


def averaged(decay: float, steps: list[Weights]) -> Weights:
    """The recursion by hand, in float64; it starts at the first entry."""
    value = {name: tensor.double() for name, tensor in steps[0].items()}
    for number, now in enumerate(steps[1:], start=1):
        share = min(decay, (1 + number) / (10 + number))
        value = {name: share * value[name] + (1 - share) * tensor.double() for name, tensor in now.items()}
    return {name: tensor if "num_batches" not in name else steps[-1][name].double() for name, tensor in value.items()}


@pytest.fixture
def steps() -> Iterator[Callable[[nn.Module], list[Weights]]]:
    """Weights and statistics of the student that is trained, at the start and after each step of its optimizer.

    Steps of the rehearsal are of copies, and leave it as it is.
    """
    found: list[Weights] = []
    watched: list[nn.Module] = []

    def note(*_: object) -> None:
        now = tiny.bits(watched[0])
        if not tiny.same(now, found[-1]):
            found.append(now)

    handle = register_optimizer_step_post_hook(note)

    def watch(module: nn.Module) -> list[Weights]:
        watched.append(module)
        found.append(tiny.bits(module))
        return found

    yield watch
    handle.remove()


class TestCarryAndReference:
    @pytest.mark.parametrize("reference", ["last", "best", "ema"])
    @pytest.mark.parametrize("carry", ["last", "best", "ema"])
    def test_weights(
        self,
        carry: Which,
        reference: Which,
        starts: list[StageStart],
        steps: Callable[[nn.Module], list[Weights]],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """``best`` is chosen on the validation split, though the test set disagrees."""
        script_accuracies(monkeypatch, test=[*TEST, 1.0, 1.0], validation=[*VALIDATION, 1.0, 1.0])
        made = two_stages(StageConfig(carry=carry, reference=reference, ema_decay=0.6))
        taken = steps(made.student)
        epochs = weights_by_epoch(made, tmp_path)
        average = averaged(0.6, taken[: 1 + 4 * len(made.loaders[0])])
        expected = {"last": epochs[3], "best": epochs[1]}
        assert not tiny.same(epochs[3], epochs[1])
        start = starts[1]
        assert start.reference is not None
        for which, found in ((carry, start.student), (reference, start.reference)):
            if which == "ema":
                for name, value in average.items():
                    torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6, msg=name)
                assert not tiny.same(found, epochs[3])
            else:
                assert tiny.same(found, expected[which])
        assert tiny.same(load_file(tmp_path / "stages" / "1" / "student.safetensors"), start.student)
        first, second = tiny.summary(tmp_path)["stages"]
        assert (first["top1_last"], first["top1_best"], second["top1_best"]) == (90.0, 30.0, 1.0)

    def test_best_is_the_best_of_its_own_stage(
        self, starts: list[StageStart], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The third stage begins with the best of the second, which was worse than the first's."""
        script_accuracies(monkeypatch, test=[1.0, 2.0, 3.0, 4.0, 5.0], validation=[90.0, 10.0, 30.0, 20.0, 10.0])
        ends = [StageConfig(ends_after=2), StageConfig(ends_after=4, carry="best"), StageConfig(ends_after=5)]
        made = tiny.built(tiny.recipe([(end, []) for end in ends], epochs=5, validation=HELD_OUT))
        epochs = weights_by_epoch(made, tmp_path)
        assert tiny.same(starts[2].student, epochs[2])
        summary = tiny.summary(tmp_path)
        assert [entry["top1_best"] for entry in summary["stages"]] == [1.0, 3.0, 5.0]
        student = summary["student"]
        assert (student["best_epoch"], student["top1_best"], student["validation_top1_best"]) == (1, 1.0, 90.0)

    def test_the_last_stage_carries_into_the_result(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        script_accuracies(monkeypatch, test=TEST, validation=VALIDATION)
        made = tiny.built(tiny.recipe([(StageConfig(carry="best"), [])], epochs=4, validation=HELD_OUT))
        epochs = weights_by_epoch(made, tmp_path)
        assert tiny.same(load_file(tmp_path / "student.safetensors"), epochs[1])
        assert tiny.same(tiny.bits(made.student), epochs[1])
        student = tiny.summary(tmp_path)["student"]
        assert (student["top1_last"], student["top1_best"]) == (90.0, 30.0)
        model = tiny.student()
        model.load_state_dict(epochs[1])
        carried = evaluate(model, made.test.epoch(0), classes=tiny.CLASSES)
        assert (student["top1"], student["top5"]) == (carried.top1, carried.top5)

    def test_the_reference_is_replaced_stage_by_stage(self, starts: list[StageStart], tmp_path: Path) -> None:
        """Without a validation split no epoch is called the best."""
        stages = [(StageConfig(ends_after=end), [name]) for end, name in ((1, "fitnet"), (2, "at"), (3, "kd"))]
        made = tiny.built(tiny.recipe(stages, epochs=3, anchor=ReferenceKL()))
        epochs = weights_by_epoch(made, tmp_path)
        assert starts[0].reference is None
        for place in (1, 2):
            reference = starts[place].reference
            assert reference is not None
            assert tiny.same(reference, epochs[place - 1])
        student = tiny.summary(tmp_path)["student"]
        assert [student[key] for key in ("top1_best", "best_epoch", "validation_top1_best")] == [None] * 3
        assert {"validation_top1", "validation_top5"}.isdisjoint(tiny.metrics(tmp_path)[0])


class TestTransitions:
    @pytest.mark.parametrize("carry", ["last", "ema"])
    def test_of_the_students_that_are_carried(self, carry: Which, tmp_path: Path) -> None:
        stages = [
            (StageConfig(ends_after=2, carry=carry), ["fitnet"]),
            (StageConfig(ends_after=4), ["kd"]),
            (StageConfig(), ["sp"]),
        ]
        made = tiny.built(tiny.recipe(stages, epochs=6, anchor=ReferenceKL()))
        tiny.trained(made, tmp_path)
        right = [correct(made, tmp_path / "stages" / str(place)) for place in (1, 2, 3)]
        entries = tiny.summary(tmp_path)["stages"]
        keys = ("retained", "forgotten", "learned", "never_known")
        assert [entries[0][key] for key in keys] == [None] * 4
        for place in (1, 2):
            before, after = right[place - 1], right[place]
            pairs = list(zip(before, after, strict=True))
            expected = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
            assert [entries[place][key] for key in keys] == expected
            assert sum(expected) == tiny.TEST
        assert [entry["top1_carried"] for entry in entries] == [
            pytest.approx(100 * sum(found) / tiny.TEST) for found in right
        ]


def correct(made: RunConfig, folder: Path) -> list[bool]:
    """Which test samples the student in a folder gets right."""
    model = tiny.student().eval()
    model.load_state_dict(load_file(folder / "student.safetensors"))
    (batch,) = made.test.epoch(0)
    found: list[bool] = (model(batch.x).argmax(1) == batch.y).tolist()
    return found
