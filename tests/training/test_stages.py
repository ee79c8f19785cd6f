"""What goes from one stage into the next: weights, reference, optimizer, and what the student still knows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from smskd.anchors.reference_kl import ReferenceKL
from smskd.recipe import OptimizerSpec, StageSpec
from smskd.runs.folder import RunFolder
from smskd.training import epoch as fit_module
from smskd.training import run as run_module
from smskd.training.accuracy import Accuracy, evaluate
from smskd.training.run import run
from smskd.training.step import Step
from tests.support import tiny

Weights = dict[str, Tensor]
Which = Literal["last", "best", "average"]
SCRIPT = [10.0, 40.0, 40.0, 20.0]
"""Accuracies that the first stage is told to have: its best epoch is the second."""


@dataclass
class Start:
    """How things stand when a stage's first epoch begins."""

    student: Weights
    reference: Weights | None
    momentum: dict[str, Tensor]
    """Where there is any: zeros are the same as nothing."""
    optimised: set[str]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Start]:
    found: list[Start] = []
    fit = run_module.fit

    def recorded(step: Step, *rest: Any, **options: Any) -> Any:
        objective, optimizer = step.objective, step.optimizer
        names = {parameter: name for name, parameter in objective.named_parameters()}
        state = {names[parameter]: values for parameter, values in optimizer.state.items()}
        found.append(
            Start(
                tiny.bits(objective.student),
                tiny.bits(objective.reference.model) if objective.reference else None,
                {
                    name: values["momentum_buffer"].clone()
                    for name, values in state.items()
                    if values["momentum_buffer"].any()
                },
                {names[parameter] for group in optimizer.param_groups for parameter in group["params"]},
            )
        )
        return fit(step, *rest, **options)

    monkeypatch.setattr(run_module, "fit", recorded)
    return found


def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the accuracies by those of the script."""
    left = iter([*SCRIPT, *SCRIPT])
    original = fit_module.evaluate

    def told(*arguments: Any, **options: Any) -> Accuracy:
        return replace(original(*arguments, **options), top1=next(left))

    monkeypatch.setattr(fit_module, "evaluate", told)


def two_stages(first: StageSpec, second: StageSpec | None = None, methods: tiny.Methods = ("kd",)) -> tuple[Any, ...]:
    pairs = [(first.model_copy(update={"until": 4}), ["fitnet"]), (second or StageSpec(), methods)]
    return tiny.stages(pairs, epochs=6, anchor=ReferenceKL())


def weights_by_epoch(made: tiny.RunConfig, folder: Path) -> list[Weights]:
    return [tiny.bits(made.student) for _ in run(made, RunFolder(folder))]


def averaged(decay: float, steps: list[Weights]) -> Weights:
    """The recursion by hand, in float64; the first entry is where it starts."""
    value = {name: tensor.double() for name, tensor in steps[0].items()}
    for number, now in enumerate(steps[1:], start=1):
        share = min(decay, (1 + number) / (10 + number))
        value = {name: share * value[name] + (1 - share) * tensor.double() for name, tensor in now.items()}
    return {name: tensor if "num_batches" not in name else steps[-1][name].double() for name, tensor in value.items()}


@pytest.fixture
def steps() -> Any:
    """Weights and statistics of the student that is trained, after each step of its optimizer."""
    found: list[Weights] = []
    watched: list[torch.nn.Module] = []
    handle = register_optimizer_step_post_hook(lambda *_: found.append(tiny.bits(watched[0])))

    def watch(module: torch.nn.Module) -> list[Weights]:
        watched.append(module)
        found.append(tiny.bits(module))
        return found

    yield watch
    handle.remove()


class TestCarryAndReference:
    @pytest.mark.parametrize("reference", ["last", "best", "average"])
    @pytest.mark.parametrize("carry", ["last", "best", "average"])
    def test_are_what_they_say(
        self,
        carry: Which,
        reference: Which,
        starts: list[Start],
        steps: Callable[[torch.nn.Module], list[Weights]],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        scripted(monkeypatch)
        made = tiny.setup(two_stages(StageSpec(carry=carry, reference=reference, ema_decay=0.6)))
        taken = steps(made.student)
        epochs = weights_by_epoch(made, tmp_path)
        in_stage = 1 + 4 * len(made.train)
        average = averaged(0.6, taken[:in_stage])
        expected = {"last": epochs[3], "best": epochs[1], "average": average}
        assert not tiny.same(epochs[3], epochs[1])
        start = starts[1]
        assert start.reference is not None
        for which, found in ((carry, start.student), (reference, start.reference)):
            if which == "average":
                for name, value in average.items():
                    torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6, msg=name)
                assert not tiny.same(found, epochs[3])
            else:
                assert tiny.same(found, expected[which])
        assert tiny.same(load_file(tmp_path / "stages" / "1" / "student.safetensors"), start.student)
        assert tiny.summary(tmp_path)["stages"][0]["top1_last"] == 20.0
        assert tiny.summary(tmp_path)["stages"][0]["top1_best"] == 40.0

    def test_best_is_the_best_of_its_own_stage(
        self, starts: list[Start], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The third stage begins with the best of the second, which was worse than the first's."""
        left = iter([90.0, 10.0, 30.0, 20.0, 10.0])
        original = fit_module.evaluate
        monkeypatch.setattr(fit_module, "evaluate", lambda *a, **o: replace(original(*a, **o), top1=next(left)))
        pairs = [(StageSpec(until=2), []), (StageSpec(until=4, carry="best"), []), (StageSpec(until=5), [])]
        made = tiny.setup(tiny.stages(pairs, epochs=5))
        epochs = weights_by_epoch(made, tmp_path)
        assert tiny.same(starts[2].student, epochs[2])
        assert [entry["top1_best"] for entry in tiny.summary(tmp_path)["stages"]] == [90.0, 30.0, 10.0]

    def test_the_last_stage_carries_into_the_result(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        scripted(monkeypatch)
        made = tiny.setup(tiny.stages([(StageSpec(carry="best"), [])], epochs=4))
        epochs = weights_by_epoch(made, tmp_path)
        assert tiny.same(load_file(tmp_path / "student.safetensors"), epochs[1])
        assert tiny.same(tiny.bits(made.student), epochs[1])
        student = tiny.summary(tmp_path)["student"]
        assert (student["top1_last"], student["top1_best"]) == (20.0, 40.0)
        model = tiny.student()
        model.load_state_dict(epochs[1])
        carried = evaluate(model, tiny.evaluation_loader().epoch(0), classes=tiny.CLASSES)
        assert (student["top1"], student["top5"]) == (carried.top1, carried.top5)

    def test_the_reference_is_replaced_stage_by_stage(self, starts: list[Start], tmp_path: Path) -> None:
        pairs = [(StageSpec(until=1), ["fitnet"]), (StageSpec(until=2), ["at"]), (StageSpec(until=3), ["kd"])]
        made = tiny.setup(tiny.stages(pairs, epochs=3, anchor=ReferenceKL()))
        epochs = weights_by_epoch(made, tmp_path)
        assert starts[0].reference is None
        for place in (1, 2):
            reference = starts[place].reference
            assert reference is not None
            assert tiny.same(reference, epochs[place - 1])


class TestOptimizer:
    def test_keep_carries_the_students_momentum(self, starts: list[Start], tmp_path: Path) -> None:
        made = tiny.setup(two_stages(StageSpec(), StageSpec(optimizer="keep"), methods=["vid"]))
        for report in run(made, RunFolder(tmp_path)):
            if report.epoch == 4:
                saved = load_file(tmp_path / "checkpoint.safetensors")
        names = [f"student.{name}" for name, _ in made.student.named_parameters()]
        assert set(starts[1].momentum) == set(names), "the new adapters begin without momentum"
        for number, name in enumerate(names):
            assert torch.equal(starts[1].momentum[name], saved[f"optimizer.{number}.momentum_buffer"])
        assert any(bool(value.any()) for value in starts[1].momentum.values())

    def test_reset_begins_without(self, starts: list[Start], tmp_path: Path) -> None:
        tiny.trained(tiny.setup(two_stages(StageSpec(), StageSpec(optimizer="reset"))), tmp_path)
        assert starts[1].momentum == {}

    def test_first_stage_begins_without(self, starts: list[Start], tmp_path: Path) -> None:
        tiny.trained(tiny.setup(two_stages(StageSpec())), tmp_path)
        assert starts[0].momentum == {}

    def test_new_adapters_come_in_and_old_ones_go(self, starts: list[Start], tmp_path: Path) -> None:
        made = tiny.setup(two_stages(StageSpec(), methods=["vid"]))
        tiny.trained(made, tmp_path)
        student = {f"student.{name}" for name, _ in made.student.named_parameters()}
        first, second = starts[0].optimised - student, starts[1].optimised - student
        assert student < starts[0].optimised
        assert student < starts[1].optimised
        assert first == {f"states.0.regressor.{name}" for name in ("conv.weight", "conv.bias", "bn.weight", "bn.bias")}
        assert second
        assert all(name.startswith("states.0.level") for name in second)

    def test_the_new_adapters_are_trained(self, tmp_path: Path) -> None:
        made = tiny.setup(two_stages(StageSpec(), methods=["vid"]))
        saved = []
        for report in run(made, RunFolder(tmp_path)):
            if report.epoch > 4:
                saved.append(load_file(tmp_path / "checkpoint.safetensors"))
        name = "methods.0.level0.conv1.weight"
        assert not torch.equal(saved[0][name], saved[1][name])

    def test_keep_differs_from_reset(self, tmp_path: Path) -> None:
        for choice in ("keep", "reset"):
            planned = two_stages(StageSpec(), StageSpec(optimizer=choice))  # type: ignore[arg-type]
            tiny.trained(tiny.setup(planned), tmp_path / choice)
        keep, reset = (tiny.outcome(tmp_path / choice)["weights"] for choice in ("keep", "reset"))
        assert keep["stages/1/student.safetensors"] == reset["stages/1/student.safetensors"]
        assert keep["student.safetensors"] != reset["student.safetensors"]

    def test_two_stages_without_method_and_anchor_are_one(self, tmp_path: Path) -> None:
        """Nothing but the boundary lies between them."""
        split = tiny.stages([(StageSpec(until=2), []), (StageSpec(until=4), [])], epochs=4)
        tiny.trained(tiny.setup(split), tmp_path / "split")
        tiny.trained(tiny.setup(tiny.stages([(StageSpec(), [])], epochs=4)), tmp_path / "whole")
        one, other = tiny.outcome(tmp_path / "split"), tiny.outcome(tmp_path / "whole")
        assert one["weights"]["student.safetensors"] == other["weights"]["student.safetensors"]

    def test_adamw(self, tmp_path: Path) -> None:
        made = tiny.setup(two_stages(StageSpec()), optimizer=OptimizerSpec(name="adamw", learning_rate=0.003))
        reports = tiny.trained(made, tmp_path)
        assert len(reports) == 6


class TestMemory:
    @pytest.mark.parametrize("carry", ["last", "average"])
    def test_counts_the_students_that_were_carried(self, carry: Which, tmp_path: Path) -> None:
        pairs = [
            (StageSpec(until=2, carry=carry), ["fitnet"]),
            (StageSpec(until=4), ["kd"]),
            (StageSpec(until=6), ["sp"]),
        ]
        tiny.trained(tiny.setup(tiny.stages(pairs, epochs=6, anchor=ReferenceKL())), tmp_path)
        right = []
        for place in (1, 2, 3):
            model = tiny.student().eval()
            model.load_state_dict(load_file(tmp_path / "stages" / str(place) / "student.safetensors"))
            (item,) = tiny.evaluation_loader().epoch(0)
            right.append(model(item.x).argmax(1) == item.y)
        entries = tiny.summary(tmp_path)["stages"]
        keys = ("retained", "forgotten", "learned", "never_known")
        assert [entries[0][key] for key in keys] == [None] * 4
        for place in (1, 2):
            before, after = right[place - 1], right[place]
            expected = [
                sum(a and b for a, b in zip(before, after, strict=True)),
                sum(a and not b for a, b in zip(before, after, strict=True)),
                sum(b and not a for a, b in zip(before, after, strict=True)),
                sum(not a and not b for a, b in zip(before, after, strict=True)),
            ]
            assert [entries[place][key] for key in keys] == expected
            assert sum(expected) == tiny.TEST
        for entry, correct in zip(entries, right, strict=True):
            assert entry["top1_carried"] == pytest.approx(100 * float(correct.float().mean()))
