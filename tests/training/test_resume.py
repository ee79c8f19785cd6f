"""A run that is killed at any moment and then goes on ends as if it had never been killed, bit by bit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from smskd.anchors.reference_kl import ReferenceKL
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method, Pretraining, WeightedMethod
from smskd.recipe import OptimizerSpec, ScheduleSpec, StageSpec
from smskd.runs import atomic_files as files
from smskd.runs.folder import METRICS, RunFolder
from smskd.training.config import RunConfig
from smskd.training.state import TrainingState
from tests.support import tiny
from tests.training.test_epoch import noisy_student

EPOCHS, STAGES = 6, 3
STEPS = tiny.TRAIN // tiny.BATCH


class Killed(BaseException):
    """Stands for the end of the process: nothing in the package may catch it."""


@dataclass
class Killer:
    """Strikes when a moment has come for so many times."""

    moment: str = ""
    time: int = 0

    def passes(self, moment: str) -> None:
        if moment == self.moment:
            self.time -= 1
            if self.time == 0:
                self.moment = ""
                raise Killed


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    """Watches every moment at which a run does something that a kill could spoil."""
    killer = Killer()

    def watched(owner: Any, name: str, what: str) -> None:
        original = getattr(owner, name)

        def passing(*arguments: Any, **options: Any) -> Any:
            killer.passes(f"before {what}")
            result = original(*arguments, **options)
            killer.passes(f"after {what}")
            return result

        monkeypatch.setattr(owner, name, passing)

    watched(TrainingState, "enter", "entering a stage")
    watched(TrainingState, "leave", "leaving a stage")
    watched(RunFolder, "append_metrics", "metrics")
    watched(RunFolder, "append_preparation", "preparation")
    watched(RunFolder, "save_checkpoint", "a checkpoint")
    watched(RunFolder, "save_student", "a student")
    watched(RunFolder, "save_summary", "the summary")
    watched(RunFolder, "conclude", "the end")
    replace = files.os.replace

    def replacing(source: Path, target: Path) -> None:
        try:
            killer.passes(f"in the middle of {target.name}")
        except Killed:
            # What a process that is killed here leaves: a file half written, under its temporary name.
            (target.parent / f".{target.name}.1.tmp").write_bytes(source.read_bytes()[:100])
            raise
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", replacing)
    append = RunFolder.append_metrics

    def torn(self: RunFolder, line: dict[str, Any]) -> None:
        try:
            killer.passes("in the middle of a line")
        except Killed:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write('{"epoch": 1, "sta')
            raise
        append(self, line)

    monkeypatch.setattr(RunFolder, "append_metrics", torn)
    handle = register_optimizer_step_post_hook(lambda *_: killer.passes("a step"))
    yield killer
    handle.remove()


def three_stages() -> RunConfig:
    """FitNets, CRD and KD with an anchor, and other choices of what is carried and frozen at each boundary."""
    pairs = [
        (StageSpec(until=2, carry="best", reference="average", ema_decay=0.7), ["fitnet"]),
        (StageSpec(until=4, carry="average", reference="best"), [tiny.SMALL_CRD]),
        (StageSpec(until=6, carry="average"), ["kd"]),
    ]
    return tiny.setup(tiny.stages(pairs, epochs=EPOCHS, anchor=ReferenceKL()))


def other_choices() -> RunConfig:
    """A foreign network with dropout, AdamW, a warm-up, methods together, a reset, a checkpoint every other epoch."""
    own = ScheduleSpec(name="cosine", warmup_epochs=1)
    pairs = [
        (StageSpec(until=3, reference="best"), ["sp", tiny.SMALL_CRD]),
        (StageSpec(epochs=1, optimizer="reset", schedule=own), ["vid", "at"]),
        (StageSpec(until=6, carry="best"), []),
    ]
    return tiny.setup(
        tiny.stages(pairs, epochs=5, anchor=ReferenceKL(source="teacher")),
        optimizer=OptimizerSpec(name="adamw", learning_rate=0.004),
        learner=noisy_student(),
        checkpoint_every=2,
    )


@dataclass(frozen=True)
class Prepared(Method):
    """A method of which a layer is initialised before the stage, together with the student."""

    epochs: int = 2

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        return Reads(("logits",), ("logits",))

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        return nn.Linear(student.classes, teacher.classes)

    def pretraining(self, student: ModelInfo) -> Pretraining:
        return Pretraining(self.epochs, trains_student=True)

    def pretraining_loss(
        self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module
    ) -> dict[str, Tensor]:
        return self.loss(student, teacher, batch, state)

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        return {"difference": (state(student.logits) - teacher.logits).square().mean()}


def with_preparations() -> RunConfig:
    """Phases before the first and the second stage, and the average kept over both."""
    methods = [WeightedMethod("one", Prepared(1), 0.1), WeightedMethod("two", Prepared(2), 0.1)]
    pairs = [
        (StageSpec(until=2, carry="average", reference="average"), methods),
        (StageSpec(until=4, carry="average"), methods),
    ]
    return tiny.setup(tiny.stages(pairs, epochs=4, anchor=ReferenceKL()))


def trained(make: Callable[[], RunConfig], folder: Path) -> dict[str, Any]:
    tiny.trained(make(), folder)
    RunFolder(folder).conclude()
    return tiny.outcome(folder)


@pytest.fixture(scope="module")
def preserve_state(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[], RunConfig]], dict[str, Any]]:
    """What each run ends with when nobody kills it; trained once."""
    known: dict[Callable[[], RunConfig], dict[str, Any]] = {}

    def outcome(make: Callable[[], RunConfig]) -> dict[str, Any]:
        if make not in known:
            known[make] = trained(make, tmp_path_factory.mktemp("undisturbed"))
        return known[make]

    return outcome


Undisturbed = Callable[[Callable[[], RunConfig]], dict[str, Any]]

MOMENTS = [
    *(("before metrics", time) for time in range(1, EPOCHS + 1)),
    *(("after metrics", time) for time in range(1, EPOCHS + 1)),
    *(("in the middle of a line", time) for time in (1, 3, 6)),
    *(("in the middle of checkpoint.safetensors", time) for time in range(1, EPOCHS + 1)),
    *(("after a checkpoint", time) for time in range(1, EPOCHS + 1)),
    *(("a step", time) for time in (1, 2, STEPS + 1, 3 * STEPS, 5 * STEPS - 1)),
    *(("before leaving a stage", time) for time in range(1, STAGES + 1)),
    *(("after leaving a stage", time) for time in range(1, STAGES + 1)),
    *(("in the middle of student.safetensors", time) for time in range(1, STAGES + 2)),
    *(("after a student", time) for time in range(1, STAGES + 2)),
    *(("after entering a stage", time) for time in range(1, STAGES + 1)),
    ("before the summary", 1),
    ("in the middle of summary.json", 1),
    ("after the summary", 1),
    ("after the end", 1),
]


def interrupted(make: Callable[[], RunConfig], folder: Path, killer: Killer, moment: str, time: int) -> None:
    killer.moment, killer.time = moment, time
    with pytest.raises(Killed):
        trained(make, folder)


@pytest.mark.parametrize(("moment", "time"), MOMENTS, ids=lambda value: str(value).replace(" ", "-"))
def test_killed_once(moment: str, time: int, killer: Killer, preserve_state: Undisturbed, tmp_path: Path) -> None:
    interrupted(three_stages, tmp_path, killer, moment, time)
    assert trained(three_stages, tmp_path) == preserve_state(three_stages)
    assert RunFolder(tmp_path).finished


@pytest.mark.parametrize(
    ("moment", "time"),
    [
        *(("after metrics", time) for time in range(1, 7)),
        ("a step", 3 * STEPS + 2),
        ("a step", 5 * STEPS + 1),
        ("in the middle of checkpoint.safetensors", 3),
        ("after leaving a stage", 1),
        ("after leaving a stage", 3),
        ("after entering a stage", 3),
        ("before the summary", 1),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_killed_with_other_choices(
    moment: str, time: int, killer: Killer, preserve_state: Undisturbed, tmp_path: Path
) -> None:
    interrupted(other_choices, tmp_path, killer, moment, time)
    assert trained(other_choices, tmp_path) == preserve_state(other_choices)


def test_a_loss_that_is_not_finite_before_a_stage_is_told(tmp_path: Path) -> None:
    method = WeightedMethod("prepared", Prepared(), 0.1)
    planned = tiny.stages([(StageSpec(), [method])], epochs=2)
    made = tiny.setup(planned, optimizer=OptimizerSpec(learning_rate=1e30))
    with pytest.raises(UserError, match=r"no longer finite before stage 1, while prepared is prepared \(difference\)"):
        tiny.trained(made, tmp_path)


@pytest.mark.parametrize(
    ("moment", "time"),
    [
        *(("after preparation", time) for time in range(1, 7)),
        *(("after a checkpoint", time) for time in range(1, 11)),
        ("a step", 2 * STEPS + 1),
        ("a step", 6 * STEPS + 1),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_killed_in_a_phase_before_a_stage(
    moment: str, time: int, killer: Killer, preserve_state: Undisturbed, tmp_path: Path
) -> None:
    interrupted(with_preparations, tmp_path, killer, moment, time)
    assert trained(with_preparations, tmp_path) == preserve_state(with_preparations)


def test_killed_again_and_again(killer: Killer, preserve_state: Undisturbed, tmp_path: Path) -> None:
    """In every epoch, now before its metrics and now while its checkpoint is written."""
    moments = ["before metrics", "in the middle of checkpoint.safetensors", "after metrics", "a step"]
    for attempt in range(2 * EPOCHS):
        killer.moment, killer.time = moments[attempt % len(moments)], 2
        try:
            trained(three_stages, tmp_path)
            break
        except Killed:
            continue
    killer.moment = ""
    assert trained(three_stages, tmp_path) == preserve_state(three_stages)


def test_a_finished_run_is_not_trained_again(preserve_state: Undisturbed, tmp_path: Path) -> None:
    before = trained(three_stages, tmp_path)
    made = three_stages()
    assert tiny.trained(made, tmp_path) == []
    assert tiny.outcome(tmp_path) == before


def test_the_program_may_draw_random_numbers_in_between(
    killer: Killer, preserve_state: Undisturbed, tmp_path: Path
) -> None:
    interrupted(three_stages, tmp_path, killer, "after a checkpoint", 3)
    made = three_stages()
    torch.manual_seed(12345)
    tiny.trained(made, tmp_path)
    RunFolder(tmp_path).conclude()
    assert tiny.outcome(tmp_path) == preserve_state(three_stages)


def test_a_damaged_checkpoint_is_told(killer: Killer, tmp_path: Path) -> None:
    interrupted(three_stages, tmp_path, killer, "after a checkpoint", 2)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"checkpoint\.safetensors is damaged \(.*\); remove it to start the run again"):
        tiny.trained(three_stages(), tmp_path)
    checkpoint.unlink()


def test_nothing_is_unpickled(killer: Killer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(three_stages, tmp_path, killer, "after a checkpoint", 4)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("torch.load")

    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(torch, "save", forbidden)
    tiny.trained(three_stages(), tmp_path)
