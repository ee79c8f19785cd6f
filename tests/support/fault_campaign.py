"""Everything that is tried by `make faults`."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.fault_cases import CASES, OF_SWEEPS, OF_THE_CACHE, Case, random_fault, random_kills
from tests.support.fault_damage import Damage, damages, files_in
from tests.support.fault_folders import done
from tests.support.fault_hooks import Fault
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_processes import Command, Started, run
from tests.support.fault_readers import ALL_READERS, readings, silently_other
from tests.support.fault_scenarios import Verdict, damaged, finish, hurt
from tests.support.fault_trainings import OUT, TRAININGS

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_STOPPED = {
    "pretraining of AB": Fault("SIGKILL", 5, "rename checkpoint"),
    "replay": Fault("SIGKILL", 3, "rename checkpoint"),
    "two seeds": Fault("SIGKILL", 6, "rename checkpoint"),
}
"""Trainings and where they are stopped, before their files are damaged."""


_NOT_READ = ("charts", "report.html", "recipe.yaml")
"""Of a finished run: the page is made anew, and shows the recipe as it is, which a user may edit."""


@dataclass(frozen=True)
class Trial:
    """One thing that is tried.

    Attributes:
        kind: row of the table.
        name: for messages.
        verdict: tries it.
    """

    kind: str
    name: str
    verdict: Callable[[], Verdict]


def trials(laboratory: Laboratory, kills: int, seed: int) -> Iterator[Trial]:
    """The trials, which may run at the same time, the most important ones first."""
    generator = random.Random(seed)
    yield from (_of(laboratory, case) for case in (*CASES, *OF_THE_CACHE, *OF_SWEEPS))
    others = [*_random(laboratory, kills, seed, generator)]
    for name, fault in _STOPPED.items():
        others += _damages(laboratory, name, fault)
    generator.shuffle(others)  # whatever there is time for, there is something of each kind
    yield from others


def _random(laboratory: Laboratory, kills: int, seed: int, generator: random.Random) -> Iterator[Trial]:
    """SIGKILL at random moments, and half as many other faults and moments."""
    names = sorted(TRAININGS.keys() - {"sweep"}) if kills else []
    events = {name: laboratory.events(name) for name in names}
    for number in range(kills):
        name = names[number % len(names)]
        yield _of(laboratory, random_kills(name, seed + number, events[name]))
        if number % 2:
            yield _random_time(laboratory, generator.choice(names), generator.random())
            yield _of(laboratory, random_fault(seed + number, events))


def _of(laboratory: Laboratory, case: Case) -> Trial:
    return Trial(case.kind, str(case), lambda: hurt(laboratory, case))


def _random_time(laboratory: Laboratory, name: str, share: float) -> Trial:
    """A signal at a random time, which no event of the process determines."""
    number = random.Random(share).choice(_SIGNALS)

    def verdict() -> Verdict:
        training = TRAININGS[name]
        here = laboratory.place(training)
        started = Started(Command(here, training.words, page=training.page))
        time.sleep(share * laboratory.seconds(name))
        started.signal(number)
        ended = started.end()
        if "Traceback" in ended.message and training.words[0] == "train":
            return Verdict("lost", str(ended))
        return finish(laboratory, name, here, done(here, training.folders))

    return Trial("signal at a random time", f"{name}: signal {number} after {share:.2f}", verdict)


def _damages(laboratory: Laboratory, name: str, fault: Fault) -> Iterator[Trial]:
    stopped = laboratory.stopped(name, fault)
    files = [file for file in files_in(stopped) if file != "recipe.yaml"]
    for damage in damages(files, 4):
        yield Trial(
            f"file {damage.kind}, of a stopped run", f"{name}: {damage}", _damaged(laboratory, name, stopped, damage)
        )


def _damaged(laboratory: Laboratory, name: str, stopped: Path, damage: Damage) -> Callable[[], Verdict]:
    return lambda: damaged(laboratory, name, stopped, damage)


def readings_of_damaged_files(laboratory: Laboratory) -> Iterator[Trial]:
    """Damage to a finished run, which every reader is given; one trial at a time, in this process."""
    training = TRAININGS["a page"]
    here = laboratory.place(training)
    ended = run(Command(here, training.words, page=True))
    assert ended.code == 0, ended
    right = readings(here, ALL_READERS)
    files = [f"{OUT}/{name}" for name in files_in(here / OUT) if not name.startswith(_NOT_READ)]
    found = list(damages(files, 6))
    random.Random(0).shuffle(found)
    for damage in found:

        def verdict(damage: Damage = damage) -> Verdict:
            other, refused = silently_other(here, damage, right, ALL_READERS)
            if other:
                return Verdict("lost", f"other results: {other}")
            return Verdict("told" if refused else "survived")

        yield Trial(f"file {damage.kind}, of a finished run", str(damage), verdict)
