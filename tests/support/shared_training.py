"""Short trainings of every method and anchor, alone or shared by several processes, which are compared.

``python -m tests.support.shared_training FILE`` does them in a process of a job; the first writes the results.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from smskd.build import Provided, build
from smskd.config.base import ComponentConfig
from smskd.config.data import LoaderConfig
from smskd.config.optimization import OptimizerConfig
from smskd.config.stage import StageConfig
from smskd.distributed.processes import ALONE, Processes, join, leave
from smskd.distributed.sharing import Sharing
from smskd.interfaces.terms import Anchor, Method
from smskd.methods.crd import CRD
from smskd.methods.semckd import SemCKD
from smskd.models import sharding
from smskd.registry import ANCHORS, METHODS
from smskd.strategies.resolve import resolve
from smskd.training.config import RunConfig
from smskd.training.epoch import train_epochs
from smskd.training.globals import computing, preserved_globals
from smskd.training.state import TrainingState
from tests.support import texts, tiny

BATCH = 19
"""60 images make three batches of 19, which two processes share unevenly, and one of 3, which is too small to be
shared."""

PRETRAINING = ("ab", "fsp", "ft")

OPTIMIZER = OptimizerConfig(learning_rate=1e-3, momentum=0.9, weight_decay=0.0)


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        stages: the methods of each stage, an epoch each.
        anchor: by name.
        batch_size: of it.
        training: further fields of the recipe's ``training``.
        runtime: fields of the recipe's ``runtime``.
        spread: whether the teacher's weights are spread over the processes.
        data: the digits in memory, the digits streamed, or texts.
    """

    stages: tuple[tuple[str, ...], ...]
    anchor: str | None = None
    batch_size: int = BATCH
    training: tuple[tuple[str, Any], ...] = ()
    runtime: tuple[tuple[str, Any], ...] = ()
    spread: bool = False
    data: Literal["memory", "streamed", "texts"] = "memory"


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        losses: the mean of each part, by epoch.
        accuracies: of each epoch, on training and test images, in percent.
        updates: by how much weights, statistics and memories have changed.
    """

    losses: list[dict[str, float]]
    accuracies: list[tuple[float, float]]
    updates: dict[str, Tensor]


def cases() -> dict[str, Case]:
    """By name: each method, each anchor, and what else is shared."""
    methods = {name: Case(((name,),)) for name in sorted(METHODS.builtin_names())}
    anchors = {f"anchor {name}": Case((("kd",), ("kd",)), name) for name in sorted(ANCHORS.builtin_names())}
    further = {
        "several methods": Case((("rkd", "at", "crd"),)),
        "accumulated": Case((("kd", "rkd"),), batch_size=20, training=(("accumulate", 2),)),
        "teacher that is spread": Case((("fitnet",),), spread=True),
        "steps that may be skipped": Case((("kd",),), runtime=(("on_nan", "skip"),)),
        "streamed": Case((("fitnet",), ("kd",)), "reference_kl", data="streamed"),
        "texts": Case((("fitnet",), ("rkd",)), "reference_kl", data="texts"),
    }
    return {**methods, **anchors, **further}


def unshared() -> dict[str, Case]:
    """Trainings in which not everything is shared, so that two processes do something else than one."""
    return {
        "batch norm": Case((("kd",),), runtime=(("sync_batch_norm", False),)),
        "relations": Case((("rkd",),), batch_size=20, runtime=(("gather", "local"),)),
    }


def method(name: str) -> Method:
    """With few negatives, layers of few samples, and two epochs of pretraining."""
    if name == "crd":
        return CRD(feature_dim=8, negatives=12)
    if name == "semckd":
        return SemCKD(factor=2)
    settings = {"init_epochs": 2} if name in PRETRAINING else {}
    made: Method = METHODS.make(ComponentConfig(name, settings), name)
    return made


def trained(case: Case, processes: Processes = ALONE) -> Trained:
    """Trains a case; global state is as before."""
    made = _texts(case) if case.data == "texts" else _digits(case)
    config = replace(made, sharing=Sharing(processes, made.sharing.gathers, made.sharing.synchronizes))
    if case.spread and not processes.alone:
        sharding.LEAST = 1  # the networks are small
        assert config.teachers[0] is not None
        config.teachers[0].spread(config.device, processes)
    with computing(config.recipe.runtime):
        return _trained(TrainingState(config))


def _digits(case: Case) -> RunConfig:
    stages = [(StageConfig(epochs=1), [method(name) for name in stage]) for stage in case.stages]
    recipe = tiny.recipe(
        stages,
        epochs=len(stages),
        anchor=_anchor(case),
        optimizer=OPTIMIZER,
        batch_size=case.batch_size,
        compile="off",
        **dict(case.runtime),
    )
    recipe = replace(recipe, training=replace(recipe.training, test_batch_size=7, **dict(case.training)))
    if case.data == "streamed":
        recipe = replace(recipe, data=replace(recipe.data, loader=LoaderConfig("streaming")))
    source = tiny.student(seed=2) if {("fsp",), ("kdsvd",)} & {*case.stages} else None  # equal numbers of channels
    return tiny.built(recipe, source=source)


def _texts(case: Case) -> RunConfig:
    """Without dropout, which draws other numbers in each process."""
    stages = [StageConfig(epochs=1, methods=tuple(map(method, stage))) for stage in case.stages]
    further = {"anchor": _anchor(case), "optimizer": OPTIMIZER, "runtime": {"compile": "off"}}
    recipe = texts.recipe(stages, epochs=len(stages), batch_size=case.batch_size, **further)
    with preserved_globals():
        networks = texts.network("student"), texts.network("teacher", seed=2)
        made = build(resolve(recipe), Provided(*networks, texts.dataset()))
    for module in made.student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made


def _anchor(case: Case) -> Anchor | None:
    if case.anchor is None:
        return None
    made: Anchor = ANCHORS.make(ComponentConfig(case.anchor, {}), case.anchor)
    return made


def _trained(state: TrainingState) -> Trained:
    losses: list[dict[str, float]] = []
    accuracies = []
    before: dict[str, Tensor] = {}
    for index in range(len(state.config.recipe.stages)):
        state.begin_stage(index)
        before = {**_state(state), **before}
        for phase in state.phases:
            losses += [report.losses for report in phase.train(state.config.loaders[index], 1)]
        for report in train_epochs(state.step, state.config, index, index + 1, ema=state.ema):
            state.observe(report)
            losses.append(report.losses)
            accuracies.append((report.train_top1, report.test_top1))
        after = _state(state)
        state.end_stage()
    return Trained(losses, accuracies, {name: after[name] - before[name] for name in after if name in before})


def _state(state: TrainingState) -> dict[str, Tensor]:
    modules = {"student": state.student, "terms": state.objective.term_states}
    return {
        f"{part}.{name}": value.detach().double().clone()
        for part, module in modules.items()
        for name, value in module.state_dict().items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


def _main(file: Path) -> None:
    torch.set_num_threads(1)
    processes = join()
    wanted = sys.argv[2:]
    results = {}
    for name, case in {**cases(), **unshared()}.items():
        if wanted and name not in wanted:
            continue
        print(name, processes.rank, flush=True)
        results[name] = trained(case, processes)
    if processes.first:
        torch.save({name: vars(result) for name, result in results.items()}, file)
    leave()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
