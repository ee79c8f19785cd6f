"""The faults that strike trainings at a chosen moment, and random ones."""

import random
from dataclasses import dataclass

from tests.support.fault_hooks import Fault


@dataclass(frozen=True)
class Case:
    """A training and what happens to it.

    Attributes:
        kind: of the faults, for the table.
        training: a key of :data:`TRAININGS`.
        faults: one after another; the training is resumed after each.
        told: whether the process must end with a line; otherwise a signal may end it.
    """

    kind: str
    training: str
    faults: tuple[Fault, ...]
    told: bool = False

    def __str__(self) -> str:
        fault = self.faults[0]
        return f"{self.training}: {fault.action} at {fault.on or 'event'} {fault.at}"


def _signal(name: str, training: str, at: int, on: str = "") -> Case:
    return Case(name, training, (Fault(name, at, on),))


def _disk(training: str, at: int, on: str, size: int) -> Case:
    return Case("full disk", training, (Fault("full disk", at, on, size),), told=True)


def _told(kind: str, training: str, at: int, on: str = "") -> Case:
    return Case(kind, training, (Fault(kind, at, on),), told=True)


CASES = (
    _signal("SIGTERM", "two stages", 40),
    _signal("SIGHUP", "cache on disk", 60),
    _signal("Ctrl-C", "two stages", 7, "step"),
    _signal("Ctrl-C", "two stages", 1, "rename recipe.yaml"),
    _signal("Ctrl-C", "two seeds", 130),
    _signal("Ctrl-C twice", "two stages", 3, "rename checkpoint"),
    _disk("two stages", 1, "open .recipe.yaml", 100),
    _disk("two stages", 1, "open .environment.json", 10),
    _disk("two stages", 3, "open .checkpoint", 5_000),
    _disk("two stages", 2, "open metrics.jsonl", 300),
    _disk("pretraining of AB", 2, "open pretraining.jsonl", 200),
    _disk("SimKD", 2, "open .student", 3_000),
    _disk("two stages", 1, "open .summary.json", 100),
    _disk("distill", 3, "open .checkpoint", 5_000),
    _disk("two seeds", 140, "", 4_000),
    _told("read-only", "two stages", 3),
    _told("read-only", "two stages", 60),
    _told("vanished folder", "two stages", 1, "step"),
    _told("vanished folder", "two stages", 2, "open .checkpoint"),
    _told("folder replaced by a file", "two stages", 12, "step"),
    _told("out of memory", "two stages", 3, "step"),
    _told("dead workers", "loader workers", 12, "step"),
    Case("wrong clock", "two stages", (Fault("wrong clock"), Fault("SIGKILL", 60))),
)
"""Each kind of fault in its tender places; those of the cache are in :data:`OF_THE_CACHE`."""

OF_SWEEPS = (
    _signal("SIGKILL", "sweep", 3, "progress"),
    _told("dead workers", "sweep", 2, "progress"),
    _disk("sweep", 1, "open .seeds", 10),
)
"""Of `make faults` alone: worker processes take seconds to start."""

OF_THE_CACHE = (
    _disk("cache on disk", 3, "pwrite", 300),
    _disk("replay", 1, "open logits.rows", 0),
    _told("read-only", "replay", 4, "pwrite"),
)
"""The cache cannot be written: the training goes on without it."""


def random_kills(training: str, seed: int, events: int) -> Case:
    """SIGKILL at random events, up to three times in a row, some of them in the middle of a write."""
    generator = random.Random(f"{training} {seed}")
    kills = tuple(_random_kill(generator, events) for _ in range(generator.randint(1, 3)))
    return Case("SIGKILL", training, kills)


def random_fault(seed: int, events: dict[str, int]) -> Case:
    """A fault that has to be told, at a random event of a random training."""
    generator = random.Random(seed)
    training = generator.choice(sorted(events))
    at = generator.randint(1, events[training])
    action = generator.choice(
        ("full disk", "read-only", "vanished folder", "Ctrl-C", "SIGTERM", "SIGHUP", "Ctrl-C twice")
    )
    size = generator.choice((0, 100, 1_000, 10_000, 100_000))
    return Case(action, training, (Fault(action, at, size=size),), told=not action.startswith(("SIG", "Ctrl")))


def _random_kill(generator: random.Random, events: int) -> Fault:
    at = generator.randint(1, events)
    if generator.random() < 0.3:
        return Fault("killed within a file", at, size=generator.choice((1, 50, 500, 5_000, 50_000)))
    return Fault("SIGKILL", at)
