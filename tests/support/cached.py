"""A cache of the tiny teacher's outputs, objectives that read it, and damage to its files."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smskd.config.cache import CacheConfig
from smskd.config.given import given
from smskd.config.models import TeacherConfig
from smskd.config.runtime import ComputeConfig
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS
from smskd.models import describe
from smskd.models.frozen import Frozen
from smskd.objective.parts import StageParts
from smskd.objective.resolve_terms import published_ce_weight, weighted
from smskd.objective.weighted_sum import WeightedSum
from smskd.teacher_cache import TeacherCache, key_of
from smskd.timing import IDLE
from smskd.training.step import Step
from tests.support import tiny

ROUNDING = 2e-3
"""Relative difference of losses after some steps that follows from rounding logits to float16."""

RECORD = 32
"""Bytes of a record of ten logits in a file."""

CPU = torch.device("cpu")


@dataclass
class Calls:
    """The calls of frozen networks: which network, and the number of images."""

    networks: list[Frozen] = field(default_factory=list)
    images: list[int] = field(default_factory=list)

    def clear(self) -> None:
        self.networks.clear()
        self.images.clear()


def options(mode: Any, folder: Path, **changes: Any) -> CacheConfig:
    return CacheConfig(mode, str(folder), **changes)


def teacher_config(mode: Any, folder: Path, **changes: Any) -> TeacherConfig:
    """The tiny teacher of a recipe, with a cache."""
    return TeacherConfig(given(tiny.EXAMPLE), cache=options(mode, folder, **changes))


def frozen_teacher() -> Frozen:
    return Frozen(tiny.teacher(), tiny.EXAMPLE)


def cache(
    teacher: Frozen,
    chosen: CacheConfig | None = None,
    *,
    outputs: Collection[str] = (LOGITS, "pooled"),
    precision: str = "fp32",
    example: Tensor = tiny.EXAMPLE,
    epochs: int = 7,
) -> TeacherCache:
    """A cache of the digits; in memory by default."""
    chosen = chosen or CacheConfig("memory")
    space = tiny.loader().augmentation_space
    key = None if chosen.mode == "memory" else key_of(teacher.model, space, chosen, CPU, precision, tf32=True)
    return TeacherCache(
        teacher,
        describe(teacher.model, (example.shape[1], example.shape[2], example.shape[3])),
        outputs,
        augmentation_space=space,
        options=chosen,
        key=key,
        epochs=epochs,
        example=example,
    )


def objective(methods: tiny.Methods = ("kd",), chosen: CacheConfig | None = None) -> WeightedSum:
    """The objective of a stage with these methods, without a cache by default."""
    teacher = frozen_teacher()
    items = weighted(methods)
    kept = None if chosen is None else cache(teacher, chosen)
    learner = tiny.student()
    torch.manual_seed(0)
    return WeightedSum(
        StageParts(
            student=learner,
            teacher=teacher,
            reference=None,
            methods=items,
            anchor=None,
            ce_weight=published_ce_weight(items),
            data=tiny.loader().info,
            example=tiny.EXAMPLE,
            cache=kept,
        )
    )


def cache_in(made: WeightedSum) -> TeacherCache:
    assert made.parts.cache is not None
    return made.parts.cache


def batches(count: int) -> Iterator[Batch]:
    """So many training batches, with keys, over as many epochs as it takes."""
    found = (group.batch for epoch in range(1, count + 1) for group in tiny.loader().groups(epoch))
    yield from (batch for batch, _ in zip(found, range(count), strict=False))


def losses(made: WeightedSum, steps: int, compute: ComputeConfig | None = None) -> list[float]:
    """The losses of slow training; fast training would amplify small differences."""
    parameters = [parameter for group in made.parameter_groups() for parameter in group.parameters]
    step = Step(made, torch.optim.SGD(parameters, lr=1e-3, momentum=0.9), compute or ComputeConfig(), IDLE, CPU)
    made.train()
    return [float(step(batch).total.detach()) for batch in batches(steps)]


def logits_of(kept: TeacherCache, count: int = 3) -> list[Tensor]:
    """The teacher's logits for some batches, read through the cache."""
    found = [kept.read(batch, [LOGITS]) for batch in batches(count)]
    return [tensors[LOGITS] for tensors in found if tensors is not None]


def samples_of(batch: Batch, rows: Any) -> Batch:
    """Some samples of a batch."""
    keys = batch.keys
    assert keys is not None
    assert keys.variant is not None
    chosen = replace(keys, index=keys.index[rows], variant=keys.variant[rows])
    return replace(batch, x=batch.x[rows], y=batch.y[rows], keys=chosen)


def rows_file(folder: Path, name: str = LOGITS) -> Path:
    (file,) = folder.glob(f"*/{name}.rows")
    return file


def damage(file: Path, every: int, at: int = 10, bit: int = 7) -> None:
    """Flips a bit in some of the records."""
    content = bytearray(file.read_bytes())
    for begin in range(0, len(content) - RECORD + 1, RECORD * every):
        content[begin + at] ^= 1 << bit
    file.write_bytes(bytes(content))
