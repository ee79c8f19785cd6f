"""The keys of a run's stages in a store: everything that determines the state at the end of each."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from smskd.config.base import plain
from smskd.config.given import is_given
from smskd.registry import DATA
from smskd.stage_store import StageKey
from smskd.stage_store.code import foreign_code, own_code
from smskd.stage_store.store import FORMAT
from smskd.strategies.resolved import ResolvedRecipe, ResolvedStage
from smskd.training.config import RunConfig
from smskd.training.host import environment
from smskd.training.identity import Identity
from smskd.training.optimizer import learning_rate

_OF_STAGES = re.compile(
    r"(?:stages|teacher|optimizer|schedule)(?:\..+)?|training\.(?:epochs|batch_size)|"
    r"fingerprints\.(?:stages\.\d+\.)?teacher"
)
"""Facts of a run's identity that each stage has of its own."""

_HARMLESS = ("runtime.device", "runtime.checkpoint_every")
"""Facts of a run's identity that change nothing, given the facts of the machine."""

_MACHINE = ("smskd", "torch", "processor", "threads", "device_name")
"""Facts of the environment on which the rounding of a result depends."""


def stage_keys(config: RunConfig) -> tuple[StageKey, ...]:
    """The key of each stage.

    It is computed with the number of threads that the run has.

    Raises:
        ValueError: code that the run depends on has no source file; the message is its name.
    """
    common = {
        "format": FORMAT,
        "run": _of_all_stages(config.identity),
        "on_nan": config.recipe.runtime.on_nan,  # a run that stops would not have had the stage of one that skips
        "machine": _machine(config),
        "code": {"smskd": own_code(), **foreign_code(_modules_of_run(config))},
    }
    stages = [
        {
            **_facts(config.recipe, stage),
            "teacher": _teacher(config, index, stage),
            "code": foreign_code(_modules_of_stage(config, index, stage)),
        }
        for index, stage in enumerate(config.recipe.stages)
    ]
    return _chained(common, stages, config.recipe)


def planned_keys(recipe: ResolvedRecipe) -> tuple[StageKey, ...]:
    """Keys of the stages of a run that is not built: where those of two runs are equal, the stage is shared, as long as
    the files that the recipes name have the same content for both."""
    mapping = recipe.as_mapping()
    files = {"data": mapping["data"], "student": mapping["student"]}
    common = {"run": _of_all_stages(Identity.of(mapping, {})), "files": files, "on_nan": recipe.runtime.on_nan}
    stages = [{**_facts(recipe, stage), "teacher": plain(stage.teacher)} for stage in recipe.stages]
    return _chained(common, stages, recipe)


def _chained(common: dict[str, Any], stages: list[dict[str, Any]], recipe: ResolvedRecipe) -> tuple[StageKey, ...]:
    """The key of each stage, of what all have in common and of what it and those before it have of their own."""
    keys: list[StageKey] = []
    for index, stage in enumerate(recipe.stages):
        # What is carried on and frozen at its end changes nothing before; only what is kept for it does.
        kept = {"best": stage.keeps("best"), "ema": stage.ema_decay if stage.keeps("ema") else None}
        last = {key: value for key, value in stages[index].items() if key not in ("carry", "reference", "ema_decay")}
        facts = {**common, "stages": [*stages[:index], {**last, **kept}]}
        parent = keys[-1].digest if keys else None
        keys.append(StageKey(json.loads(json.dumps(facts)), parent))
    return tuple(keys)


def _of_all_stages(identity: Identity) -> dict[str, Any]:
    return {key: value for key, value in identity.facts.items() if not (_OF_STAGES.fullmatch(key) or key in _HARMLESS)}


def _machine(config: RunConfig) -> dict[str, Any]:
    device = config.device
    here = environment(device, tf32=config.recipe.runtime.tf32)
    return {
        **{key: here[key] for key in _MACHINE},
        "device": device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _facts(recipe: ResolvedRecipe, stage: ResolvedStage) -> dict[str, Any]:
    """Everything that a stage is trained with but its teacher, whether it is the stage's own or the recipe's."""
    rates = [
        learning_rate(stage.optimizer.learning_rate, recipe.schedule, recipe.training.epochs, stage, epoch)
        for epoch in range(stage.first, stage.last + 1)
    ]
    mapping = stage.as_mapping(recipe)
    del mapping["schedule"]
    return {
        **mapping,
        "ema_decay": stage.ema_decay if stage.keeps("ema") else None,
        "first": stage.first,
        "learning_rates": rates,
        "optimizer": plain(stage.optimizer),
        "batch_size": stage.batch_size,
    }


def _teacher(config: RunConfig, index: int, stage: ResolvedStage) -> dict[str, Any] | None:
    """The teacher of a stage: its weights and structure, and how its outputs are kept."""
    if stage.teacher is None or config.teachers[index] is None:
        return None
    facts, cache = config.identity.facts, stage.teacher.cache
    network = facts.get("fingerprints.teacher") or facts[f"fingerprints.stages.{index}.teacher"]
    kept = None if cache.mode == "off" else {"mode": cache.mode, "top": cache.top}
    return {"network": network, "cache": kept, "outputs": _with_others(config, stage) if kept else None}


def _with_others(config: RunConfig, stage: ResolvedStage) -> list[Any] | None:
    """The stages with the same teacher, where a compiled program may compute the cached outputs of all of them."""
    compute = config.recipe.runtime
    if config.device.type != "cpu" or compute.precision != "fp32" or compute.compile == "off":
        return None
    others = [own for own in config.recipe.stages if own.teacher is not None and own.teacher == stage.teacher]
    return sorted({name for own in others for name in own.names})


def _modules_of_run(config: RunConfig) -> Iterator[str]:
    """The Python modules on whose code every stage depends."""
    yield type(config.recipe.strategy).__module__
    yield from _modules_of(config.student)
    sources = [config.recipe.data.source]
    validation = config.recipe.data.validation
    if validation is not None and validation.source is not None:
        sources.append(validation.source)
    for source in sources:
        yield _module_of_given(source.name) if is_given(source.name) else DATA.find(source.name).__module__


def _modules_of_stage(config: RunConfig, index: int, stage: ResolvedStage) -> Iterator[str]:
    yield from (type(item.method).__module__ for item in stage.methods)
    if stage.anchor is not None:
        yield type(stage.anchor).__module__
    teacher = config.teachers[index]
    if teacher is not None:
        yield from _modules_of(teacher.model)


def _modules_of(network: nn.Module) -> set[str]:
    return {type(layer).__module__ for layer in network.modules()}


def _module_of_given(name: str) -> str:
    """The module of the class of an object that a program has given: ``<package.module.Class>``."""
    parts = name[1:-1].split(".")
    paths = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((path for path in paths if path in sys.modules), parts[0])
